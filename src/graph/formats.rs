//! What the readers of graphs have in common: nodes with names, edges with weights, and what is refused.

use crate::error::Error;
use std::collections::BTreeMap;

/// Edges as (task, task, weight).
pub(super) type Edges = Vec<(String, String, f64)>;

/// A problem as an error about the file `name`.
pub(super) fn refused(name: &str) -> impl Fn(String) -> Error {
    move |problem| Error::Table { source_name: name.into(), problem }
}

/// The weight of an edge.
pub(super) fn weight(text: &str) -> Result<f64, String> {
    let value = text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
    value.ok_or_else(|| format!("the edge weight '{}' is not a finite number; correct it", text.trim()))
}

/// Edges between ids as edges between names, without the white space around them, as in tables.
pub(super) fn named(names: &BTreeMap<String, String>, edges: Edges) -> Result<Edges, String> {
    if edges.is_empty() {
        return Err("it has no edge, so it relates no tasks; add the edges or give another file".into());
    }
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (id, name) in names {
        if let Some(other) = taken.insert(name.trim(), id) {
            return Err(format!(
                "the nodes '{other}' and '{id}' are both named '{}'; give each node the name of its own task",
                name.trim()
            ));
        }
    }
    let name = |id: &str| match names.get(id) {
        Some(name) => Ok(name.trim().to_string()),
        None => Err(format!("an edge ends at '{id}', which is no node of the file; add the node or leave the edge out")),
    };
    edges.into_iter().map(|(s, t, weight)| Ok((name(&s)?, name(&t)?, weight))).collect()
}

#[cfg(test)]
mod tests {
    use crate::graph::{TaskGraph, read_dot, read_graphml};

    const NAMES: [&str; 6] = ["a \"quoted\"", "back\\slash\\n", "two\nlines", "a & <b>", "Zürich -- Basel", "01"];

    #[test]
    fn what_is_written_is_read_back() {
        let mut graph = TaskGraph::empty(&NAMES);
        let pairs = [(0, 1, -0.4), (0, 5, 0.25), (1, 2, -0.1), (2, 3, -0.3), (3, 4, -1.0 / 3.0)];
        pairs.iter().for_each(|(s, t, precision)| graph.connect(*s, *t, *precision, Some(0.9)));
        let expected: Vec<(String, String, f64)> =
            pairs.iter().map(|(s, t, precision)| (NAMES[*s].into(), NAMES[*t].into(), -precision)).collect();
        let sorted = |mut edges: Vec<(String, String, f64)>| {
            edges.sort_by_key(|(s, t, _)| [s, t].map(|name| NAMES.iter().position(|own| own == name)));
            edges
        };
        assert_eq!(sorted(read_graphml(&graph.to_graphml(), "x").unwrap()), expected);
        assert_eq!(sorted(read_dot(&graph.to_dot(), "x").unwrap()), expected);
    }

    #[test]
    fn no_text_makes_a_reader_panic() {
        let deep = |open: &str, close: &str, depth: usize| [open.repeat(depth), close.repeat(depth)].concat();
        let mut nasty = vec![
            String::new(),
            "\u{feff}".into(),
            "\0\u{1}\u{fffd}".into(),
            "PK\u{3}\u{4}".into(),
            deep("<a>", "</a>", 100_000),
            deep("{", "}", 100_000),
            format!("graph {}", deep("{", "}", 100_000)),
            format!("graph {{ a -- {} }}", deep("subgraph {", "", 100_000)),
            format!("graph {{ a [label={}] }}", deep("<", ">", 100_000)),
            format!("graph {{ {} }}", "a -- ".repeat(10_000)),
        ];
        let mut graph = TaskGraph::empty(&NAMES);
        graph.connect(0, 1, -0.4, None);
        for whole in [graph.to_dot(), graph.to_graphml()] {
            nasty.extend(whole.trim_end().char_indices().map(|(end, _)| whole[..end].to_string()));
        }
        for text in nasty {
            for refused in [read_dot(&text, "x"), read_graphml(&text, "x")] {
                let message = refused.expect_err(&text).to_string();
                assert!(message.starts_with("x: ") && !message.contains('\n') && message.contains("; "), "{message}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_heap_of_pieces_makes_a_reader_panic(pieces in proptest::collection::vec(0..28usize, 0..40)) {
            const PIECES: [&str; 28] = [
                "graph ", "digraph ", "subgraph ", "node ", "edge ", "{", "}", "[", "]", "=", "weight", "label", "--", "->", "a", "\"", "\\", "<",
                ">", ":", ";", "-1", "0", ".", "#", "/*", "\n", "é",
            ];
            let text: String = pieces.iter().map(|i| PIECES[*i]).collect();
            for text in [format!("graph {{{text}}}"), text] {
                let _ = (read_dot(&text, "x"), read_graphml(&text, "x"));
            }
        }
    }
}
