//! Readers meet what nobody would write: mutated tables, graphs and models, some thousands of each, or for as many seconds each as `COGNATE_FUZZ` says
//! (`COGNATE_FUZZ=600 cargo test --release --test fuzz -- --nocapture`). They may refuse, in one sentence; they may not panic.
//!
//! What is answered in a new way is mutated further, so that the search goes on where readers have already gone some way. `tests/corpus` has such inputs, a folder a reader, which are tried in
//! every run; with `COGNATE_CORPUS=tests/corpus` a run adds those that it finds.

use cognate::csv::{Columns, read, read_relation, read_summaries};
use cognate::{
    Binomial, Clusters, Design, Exchangeable, Factor, FeatureCovariance, Fit, Full, Gaussian, Generalised, Graph, Intervals, Model, Pooled,
    Rows, Structure, read_dot, read_graphml,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Pieces that readers take for something.
const PIECES: [&[u8]; 28] = [
    b",",
    b"\"",
    b"\n",
    b"\r\n",
    b"",
    b" ",
    b"0",
    b"-1",
    b"1e309",
    b"-1e-400",
    b"NaN",
    b"inf",
    b"NA",
    b"true",
    b"\0",
    b"\xff\xfe",
    "\u{feff}".as_bytes(),
    b"--",
    b"->",
    b"{",
    b"}",
    b"[label=\"",
    b"<edge source=\"a\" target=\"b\">",
    b"</node>",
    b"<!--",
    b"&#0;",
    b"18446744073709551616",
    b"0.1",
];

fn place(random: &mut ChaCha8Rng, length: usize) -> usize {
    random.random_range(0..=length)
}

/// One to six changes: bits, pieces, parts left out, doubled, or taken from another.
fn mutated(seeds: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(1..=6) {
        let (a, b) = (place(random, bytes.len()), place(random, bytes.len()));
        let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 64));
        match random.random_range(0..6) {
            0 if from < bytes.len() => bytes[from] ^= 1 << random.random_range(0..8),
            1 if from < bytes.len() => bytes[from] = random.random(),
            2 => drop(bytes.splice(from..from, PIECES[random.random_range(0..PIECES.len())].iter().copied())),
            3 => drop(bytes.drain(from..to)),
            4 => {
                let part = bytes[from..to].to_vec();
                let times = random.random_range(1..4);
                drop(bytes.splice(from..from, part.repeat(times)));
            }
            _ => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let start = place(random, other.len());
                let end = (start + random.random_range(0..64)).min(other.len());
                drop(bytes.splice(from..to, other[start..end].iter().copied()));
            }
        }
    }
    bytes
}

/// Inputs that the corpus of a reader may have, and longest ones.
const CORPUS: usize = 24;
const LONGEST: usize = 4_000;

/// Inputs that are mutated further, at most: what messages say outside quotes makes kinds without end.
const POOL: usize = 2_000;

/// What kind of answer it is: how a message begins, without what it quotes and counts.
fn kind(answer: &str) -> String {
    let outside = |(k, part): (usize, &str)| if k % 2 == 0 { part.replace(|own: char| own.is_ascii_digit(), "") } else { String::new() };
    answer.split('\'').enumerate().map(outside).collect::<String>().chars().take(60).collect()
}

/// The inputs of a reader that are kept, by name.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).map_or_else(|_| Vec::new(), |all| all.map(|own| own.unwrap().path()).collect());
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Whatever is made of the seeds and of the corpus, `reader` returns: nothing where an input is taken, else a complaint.
fn fuzz(name: &str, inputs: usize, seeds: &[Vec<u8>], reader: impl Fn(&[u8]) -> Answer) {
    let seconds: Option<u64> = std::env::var("COGNATE_FUZZ").ok().and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = ChaCha8Rng::seed_from_u64(seconds.unwrap_or(1));
    let (mut done, mut taken) = (0usize, 0usize);
    assert!(seeds.iter().all(|seed| reader(seed).is_none()), "{name}: a seed is refused");
    let kept = corpus(name);
    let mut kinds: HashSet<String> = kept.iter().map(|own| kind(&reader(own).unwrap_or_default())).collect();
    kinds.insert(String::new());
    let (mut pool, before) = ([seeds, &kept].concat(), seeds.len() + kept.len());
    while until.map_or(done < inputs, |until| Instant::now() < until) {
        // Half of them from what is good, lest all be far from it.
        let bytes = mutated(if random.random() { seeds } else { &pool }, &mut random);
        match catch_unwind(AssertUnwindSafe(|| reader(&bytes))) {
            Ok(answer) => {
                taken += usize::from(answer.is_none());
                if pool.len() < POOL && kinds.insert(kind(&answer.unwrap_or_default())) {
                    pool.push(bytes);
                }
            }
            Err(_) => {
                let path = std::env::temp_dir().join(format!("cognate-fuzz-{name}-{done}"));
                std::fs::write(&path, &bytes).unwrap();
                panic!("{name}: input {done} panics; it is in {}", path.display());
            }
        }
        done += 1;
    }
    println!("{name}: {done} inputs, {taken} of them taken, {} kinds of answers", kinds.len());
    assert!(taken > 0 && taken < done, "{name}: {taken} of {done} inputs are taken, so that one side is not tried");
    if let Ok(folder) = std::env::var("COGNATE_CORPUS") {
        let folder = Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut found = pool.split_off(before);
        found.retain(|bytes| bytes.len() <= LONGEST);
        found.sort_by_key(Vec::len);
        // Some of every size.
        let (room, all) = (CORPUS.saturating_sub(kept.len()), found.len());
        for k in 0..room.min(all) {
            std::fs::write(folder.join(format!("{:02}", kept.len() + k)), &found[k * all / room.min(all)]).unwrap();
        }
    }
}

/// A complaint, or none.
type Answer = Option<String>;

fn said<T>(result: cognate::Result<T>) -> Answer {
    let complaint = result.err()?.to_string();
    assert!(!complaint.is_empty());
    Some(complaint)
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn tables() {
    let seeds = texts(&[
        "task,y,x,colour\na,1,2,red\na,2,3,blue\nb,1.5,1,red\nb,2,-4e-3,green\n",
        "task,y,x\r\n\"a, b\",1,2\r\n\"a, b\",2,4\r\n\"c \"\"d\"\"\",,1\r\n\"c \"\"d\"\"\",3,1\r\n",
        "task;y;x\na;1;2\n",
        "task,y,x,w,n,o\na,1,2,1,3,0.1\nb,0,3,2,3,0\n",
    ]);
    let columns = Columns { task: "task".into(), target: "y".into(), ..Columns::default() };
    fuzz("tables", 20_000, &seeds[..2], |bytes| said(read(bytes, "t.csv", &columns).map(|table| table.rows.tasks(&table.design))));
    let weighted = Columns { weights: Some("w".into()), offset: Some("o".into()), features: Some(vec!["x".into()]), ..columns };
    fuzz("weighted", 5_000, &seeds[3..], |bytes| said(read(bytes, "t.csv", &weighted).map(|table| table.rows.tasks(&table.design))));
}

#[test]
fn summaries() {
    let seeds =
        texts(&["task,a,b,se:a,se:b\ns,1,2,0.1,0.2\nt,2,,0.3,\n", "task,a,b,cov:a:a,cov:a:b,cov:b:b\ns,1,2,1,0.5,1\nt,3,4,2,-0.1,1\n"]);
    let columns = Columns { task: "task".into(), ..Columns::default() };
    fuzz("summaries", 10_000, &seeds, |bytes| said(read_summaries(bytes, "s.csv", &columns)));
}

#[test]
fn relations() {
    let pairs = texts(&["source,target,weight\na,b,1\nb,c,0.5\n", "source,target\na,b\n\"b,x\",c\n"]);
    fuzz("pairs", 10_000, &pairs, |bytes| said(read_relation(bytes, "g.csv")));
    let dot = texts(&[
        "graph { a -- b [weight=0.5]; \"b c\" -- d; e }",
        "strict graph \"g\" {\n // note\n node [shape=box];\n a -- b -- c;\n}\n",
    ]);
    fuzz("dot", 10_000, &dot, |bytes| said(read_dot(&String::from_utf8_lossy(bytes), "g.dot")));
    let graphml = texts(&[
        "<graphml><key id=\"w\" for=\"edge\" attr.name=\"weight\" attr.type=\"double\"/><graph edgedefault=\"undirected\"><node id=\"a\"/><node id=\"b\"/>\
         <edge source=\"a\" target=\"b\"><data key=\"w\">0.5</data></edge></graph></graphml>",
    ]);
    fuzz("graphml", 10_000, &graphml, |bytes| said(read_graphml(&String::from_utf8_lossy(bytes), "g.graphml")));
}

fn rows(binary: bool) -> Rows {
    let mut rows = Rows::new("y", &["x", "z"]);
    for i in 0..120 {
        let (t, x, z) = (i % 6, f64::from(i / 6) / 5.0 - 2.0, f64::from(i * 7 % 11) / 5.0 - 1.0);
        let y = f64::from(t % 3) - 1.0 + (0.5 + 0.1 * f64::from(t % 2)) * x + 0.3 * z + f64::from(i * 13 % 17) / 8.0 - 1.0;
        rows.push(&format!("t{t}"), &[x, z], if binary { f64::from(u8::from(y > 0.0)) } else { y }, 1.0).unwrap();
    }
    rows
}

/// What a model of a file may be asked.
fn asked(fit: &Fit) {
    let _ = fit.to_string();
    for t in 0..fit.tasks().len() {
        let _ = (fit.coefficients(t), fit.covariance(t), fit.own_share(t));
    }
    let columns = fit.tasks().design().features().len() - 1;
    let _ = said(fit.forecast(Some(0), "t0", &vec![0.5; columns], 1.0, 0.0).map(|forecast| forecast.prediction(0.95)));
    let _ = said(fit.forecast(None, "new", &vec![0.5; columns], 1.0, 0.0).map(|forecast| forecast.prediction(0.95)));
}

/// The record within the file is what is mutated, and its checksum made anew: a wrong one is refused before anything is read.
#[test]
fn models() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cognate");
    let structures: Vec<Box<dyn Structure>> = vec![
        Box::new(Exchangeable::new(FeatureCovariance::Full)),
        Box::new(Pooled { task_intercepts: false }),
        Box::new(Full::new(FeatureCovariance::Diagonal)),
        Box::new(Factor::new(1, FeatureCovariance::Diagonal)),
        Box::new(Graph::new(FeatureCovariance::Diagonal)),
        Box::new(Clusters::new(FeatureCovariance::Diagonal, 2)),
    ];
    let mut seeds = Vec::new();
    let mut keep = |fit: Fit| {
        fit.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut record = Vec::new();
        flate2::read::ZlibDecoder::new(&bytes[24..]).read_to_end(&mut record).unwrap();
        seeds.push(record);
        bytes[..12].to_vec()
    };
    let mut header = Vec::new();
    for structure in structures {
        let tasks = rows(false).tasks(&Design::varying(&["x", "z"]));
        header = keep(Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&tasks).unwrap());
    }
    let tasks = rows(true).tasks(&Design::varying(&["x", "z"])).with_rows(rows(true)).unwrap();
    keep(Model::new(Generalised::new(Binomial::default()), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks).unwrap());
    fuzz("models", 3_000, &seeds, |record| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(record).unwrap();
        let payload = encoder.finish().unwrap();
        let mut bytes = header.clone();
        bytes.extend(crc32fast::hash(&payload).to_le_bytes());
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(payload);
        std::fs::write(&path, bytes).unwrap();
        match Fit::load(&path) {
            Ok(fit) => {
                asked(&fit);
                None
            }
            Err(error) => said::<()>(Err(error)),
        }
    });
}
