//! The parts of the page put together in one file: style, scripts and data, where nothing of the data can be taken for markup.

use serde_json::Value;

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// d3, each module after those that it uses.
const LIBRARY: [&str; 11] = [
    include_str!("../../vendor/d3/d3-dispatch.js"),
    include_str!("../../vendor/d3/d3-timer.js"),
    include_str!("../../vendor/d3/d3-color.js"),
    include_str!("../../vendor/d3/d3-ease.js"),
    include_str!("../../vendor/d3/d3-interpolate.js"),
    include_str!("../../vendor/d3/d3-selection.js"),
    include_str!("../../vendor/d3/d3-transition.js"),
    include_str!("../../vendor/d3/d3-drag.js"),
    include_str!("../../vendor/d3/d3-zoom.js"),
    include_str!("../../vendor/d3/d3-quadtree.js"),
    include_str!("../../vendor/d3/d3-force.js"),
];
const LICENCE: &str = include_str!("../../vendor/d3/LICENSE");

/// Our own, in the order in which they need each other.
const SCRIPTS: [&str; 5] =
    [include_str!("parts.js"), include_str!("figures.js"), include_str!("graph.js"), include_str!("compared.js"), include_str!("page.js")];

/// JSON that ends no script and begins no comment there: `<`, `>`, `&` and the two line ends of Unicode are written as escapes, which mean the same in a JSON string.
fn in_script(data: &Value) -> String {
    let text = data.to_string();
    let mut safe = String::with_capacity(text.len() + text.len() / 64);
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            other => safe.push(other),
        }
    }
    safe
}

/// Text between tags.
fn in_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) fn html(data: &Value, text: &str) -> String {
    let library = format!("/*\n{LICENCE}*/\n{}", LIBRARY.join("\n"));
    let script = SCRIPTS.join("\n");
    let (data_text, title) = (in_script(data), in_text(data["title"].as_str().unwrap_or("")));
    let plain = in_text(text);
    let part = |name: &str| match name {
        "title" => title.as_str(),
        "style" => STYLE,
        "text" => plain.as_str(),
        "data" => data_text.as_str(),
        "library" => library.as_str(),
        "script" => script.as_str(),
        _ => "",
    };
    // The frame is walked once, so that what is put in is never looked at again.
    let mut page = String::with_capacity(FRAME.len() + STYLE.len() + library.len() + script.len() + data_text.len() + plain.len());
    let frame = FRAME.split_once("-->\n").map_or(FRAME, |(_, rest)| rest);
    let mut pieces = frame.split("{{");
    page.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
        page.push_str(part(name));
        page.push_str(rest);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_the_same_and_holds_no_markup() {
        let data = json!({"title": "</script><b>&\u{2028}", "names": ["<!--", "{{text}}"]});
        let written = in_script(&data);
        assert!(!written.contains(['<', '>', '&', '\u{2028}']));
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), data);
        let page = html(&data, "<i>& {{data}}");
        assert!(page.contains("<title>&lt;/script&gt;&lt;b&gt;&amp;\u{2028}") && page.contains("&lt;i&gt;&amp; {{data}}"));
        assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
    }
}
