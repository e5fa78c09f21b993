// Opens each page as a reader would, and stops at the first thing that is not as it should be.
import { strict as assert } from "node:assert";
import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [shots, ...pages] = process.argv.slice(2);
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"],
});

/** A picture that shows something: not of one colour. */
async function picture(page, name) {
  const path = `${shots}/${name}.png`;
  await page.screenshot({ path, fullPage: true });
  assert(statSync(path).size > 20_000, `${name} is empty`);
}

/** How many colours a canvas has. */
const colours = (page, selector) =>
  page.$eval(selector, (canvas) => {
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return new Set(pixels).size;
  });

/** Finds the first task by its name, and its panel beside the graph. */
async function search(page, name) {
  const task = await page.$eval("#names option", (own) => own.value);
  await page.type("#search", task);
  await page.keyboard.press("Enter");
  assert.equal(await page.$eval("#graph aside h3", (own) => own.textContent), task, `${name}: search does not choose`);
  assert((await page.$$("#graph aside tbody tr")).length > 1, `${name}: no parameters of the chosen task`);
}

for (const file of pages) {
  const name = basename(file, ".html");
  for (const scheme of ["light", "dark"]) {
    const page = await browser.newPage();
    await page.setViewport({ width: 1200, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    const wrong = [];
    page.on("console", (message) => ["error", "warn"].includes(message.type()) && wrong.push(message.text()));
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("request", (request) => request.url().startsWith("file:") || request.url().startsWith("data:") || wrong.push(`asked for ${request.url()}`));
    page.on("dialog", (dialog) => wrong.push(`a dialog: ${dialog.message()}`));
    const begun = performance.now();
    await page.goto(pathToFileURL(resolve(file)).href, { waitUntil: "load" });
    await page.waitForSelector("body[data-ready=yes]", { timeout: 20_000 });
    const loaded = performance.now() - begun;
    assert(loaded < 3_000, `${name} took ${loaded.toFixed(0)} ms to open`);
    assert((await page.$$eval("#verdict p", (all) => all.map((own) => own.textContent))).length > 0, "no verdict");
    if (await page.$("#graph canvas")) {
      await page.waitForSelector(".stage[data-settled=yes]", { timeout: 30_000 });
      const settled = performance.now() - begun;
      assert((await colours(page, "#graph canvas")) > 3, `${name}: the graph is empty`);
      const words = () => page.$eval("#graph output", (own) => own.textContent).catch(() => "");
      const before = await words();
      if (await page.$("#rate")) {
        await page.$eval("#rate", (own) => { own.value = own.value === own.max ? own.min : own.max; own.dispatchEvent(new Event("input")); });
        assert.notEqual(await words(), before, `${name}: the slider does nothing`);
        await page.waitForSelector(".stage[data-settled=yes]", { timeout: 30_000 });
      }
      await search(page, name);
      // Clicks go from cell to cell until one meets a task.
      await page.keyboard.press("Escape");
      const box = await (await page.$("#graph canvas")).boundingBox();
      await page.$eval("#graph canvas", (own) => own.scrollIntoView({ block: "center" }));
      const [left, top] = await page.$eval("#graph canvas", (own) => { const at = own.getBoundingClientRect(); return [at.left, at.top]; });
      const chosen = () => page.$eval("#graph aside", (own) => own.querySelector("h3")?.textContent ?? "");
      const before_click = await chosen();
      let met = false;
      for (let y = 12; y < box.height && !met; y += 14) {
        for (let x = 12; x < box.width && !met; x += 14) {
          await page.mouse.move(left + x, top + y);
          if ((await page.$eval("#graph canvas", (own) => own.style.cursor)) === "pointer") {
            await page.mouse.click(left + x, top + y);
            const own = await chosen();
            met = own !== "" && own !== before_click;
          }
        }
      }
      assert(met, `${name}: a click chooses no task`);
      console.log(`${name} ${scheme}: opened in ${loaded.toFixed(0)} ms, graph at rest after ${settled.toFixed(0)} ms, ${(statSync(file).size / 1e6).toFixed(2)} MB`);
    } else {
      await search(page, name);
      console.log(`${name} ${scheme}: opened in ${loaded.toFixed(0)} ms, ${(statSync(file).size / 1e6).toFixed(2)} MB`);
    }
    const row = await page.$("#parameters svg .row");
    await row.click();
    assert(await page.$("#parameters svg .row.chosen"), `${name}: a row is not chosen`);
    if (await page.$("#relatedness canvas")) assert((await colours(page, "#relatedness canvas")) > 1, `${name}: the heat map is empty`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert(wide <= 0, `${name}: the page is ${wide} pixels too wide`);
    await page.mouse.move(2, 2);
    await page.evaluate(() => window.scrollTo(0, 0));
    await picture(page, `${name}-${scheme}`);
    assert.deepEqual(wrong, [], `${name} (${scheme})`);
    await page.close();
  }
}
await browser.close();
