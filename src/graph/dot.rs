//! DOT: the task graph for Graphviz, and a known graph from it.

use super::formats::{Edges, named, refused, weight};
use super::{Edge, Node, TaskGraph};
use crate::error::Result;
use graphviz_rust::dot_structures as ast;
use petgraph::dot::{Config, Dot};
use petgraph::graph::{EdgeReference, NodeIndex, UnGraph};
use std::collections::BTreeMap;

/// Most braces within braces: on text that is not DOT the parser's work doubles with each.
const DEEPEST: usize = 7;

impl TaskGraph {
    /// Graphviz text: pen width is the strength, colour the sign (blue positive, red negative).
    pub fn to_dot(&self) -> String {
        let edge = |_: &UnGraph<Node, Edge>, edge: EdgeReference<'_, Edge>| {
            let weight = edge.weight();
            let colour = if weight.partial_correlation >= 0.0 { "steelblue" } else { "firebrick" };
            let width = 0.5 + 6.0 * weight.strength();
            let probability = weight.probability.map(|p| format!(", tooltip=\"probability {p:.3}\"")).unwrap_or_default();
            if weight.is_membership() {
                return format!("label=\"{p:.2}\", weight=\"{p}\", color=grey, penwidth={width:.2}", p = weight.strength());
            }
            let strength = weight.partial_correlation;
            format!("label=\"{strength:.2}\", partial_correlation=\"{strength}\", color={colour}, penwidth={width:.2}{probability}")
        };
        let node = |_: &UnGraph<Node, Edge>, (_, node): (NodeIndex, &Node)| format!("label={}", quoted(&node.task));
        let config = [Config::EdgeNoLabel, Config::NodeNoLabel];
        format!("{:?}", Dot::with_attr_getters(self.as_petgraph(), &config, &edge, &node))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n"))
}

/// What stands in quotes; `node` is the id of the node whose label it is.
fn unquoted(text: &str, node: Option<&str>) -> String {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let (mut name, mut rest) = (String::with_capacity(inner.len()), inner.chars());
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            ('\\', Some(escaped @ ('"' | '\\'))) => name.push(escaped),
            ('\\', Some('\n')) => {}
            ('\\', Some('n' | 'l' | 'r')) if node.is_some() => name.push('\n'),
            ('\\', Some('N')) if node.is_some() => name.push_str(node.unwrap_or_default()),
            (c, other) => name.extend(std::iter::once(c).chain(other)),
        }
    }
    name
}

/// Reads a known graph from DOT text as (task, task, weight), one for every edge, directed or not; a chain has an edge for every link, an
/// edge to a subgraph one for every node in it. A node is called by its attribute `label`, else by its id; the weight is the edge's
/// attribute `weight`, else `partial_correlation` (as task graphs are written), else 1. `name` is the file's, for messages. Cost: linear in the text.
///
/// ```
/// let edges = cognate::read_dot("graph { a -- b -- c [weight=2]; b [label=\"the middle\"] }", "g.dot")?;
/// assert_eq!(edges[1], ("the middle".to_string(), "c".to_string(), 2.0));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Table`](crate::Error::Table) for text that is not DOT, an edge that starts at a subgraph, a weight that is no number, two nodes of
/// one name, and no edge at all.
///
/// Source: the DOT language of Graphviz, <https://graphviz.org/doc/info/lang.html>.
pub fn read_dot(text: &str, name: &str) -> Result<Edges> {
    edges(text).map_err(refused(name))
}

fn edges(text: &str) -> std::result::Result<Edges, String> {
    let graph = graphviz_rust::parse(&spelt_out(text)?).map_err(|error| {
        // The parser's complaint opens with " --> line:column".
        let place = error.trim_start_matches([' ', '-', '>']).split(':').next().unwrap_or_default().to_string();
        format!(
            "line {place} cannot be read as DOT; correct it (edges start at a node, not at a subgraph), or list the edges as CSV with the columns \
             source, target and weight"
        )
    })?;
    let (ast::Graph::Graph { stmts, .. } | ast::Graph::DiGraph { stmts, .. }) = graph;
    let mut found = Found::default();
    found.body(&stmts, 1.0)?;
    named(&found.names, found.edges)
}

/// Nodes with their names and edges between their ids, as far as they were read.
#[derive(Default)]
struct Found {
    names: BTreeMap<String, String>,
    edges: Edges,
}

impl Found {
    /// Reads the statements of a graph or subgraph, where edges have that weight unless they say another, and returns its nodes.
    fn body(&mut self, statements: &[ast::Stmt], mut usual: f64) -> std::result::Result<Vec<String>, String> {
        let mut nodes = Vec::new();
        for statement in statements {
            match statement {
                ast::Stmt::Node(node) => nodes.push(self.node(&node.id, &node.attributes)),
                ast::Stmt::Subgraph(inner) => nodes.extend(self.body(&inner.stmts, usual)?),
                ast::Stmt::GAttribute(ast::GraphAttributes::Edge(attributes)) => usual = weight_in(attributes, usual)?,
                ast::Stmt::Edge(edge) => {
                    let chain = match &edge.ty {
                        ast::EdgeTy::Pair(from, to) => [from, to].to_vec(),
                        ast::EdgeTy::Chain(vertices) => vertices.iter().collect(),
                    };
                    let weight = weight_in(&edge.attributes, usual)?;
                    let mut before: Vec<String> = Vec::new();
                    for vertex in chain {
                        let ends = match vertex {
                            ast::Vertex::N(id) => vec![self.node(id, &[])],
                            ast::Vertex::S(inner) => self.body(&inner.stmts, usual)?,
                        };
                        if ends.is_empty() {
                            return Err("an edge ends at a subgraph without nodes; name its nodes in the braces".into());
                        }
                        self.edges.extend(before.iter().flat_map(|s| ends.iter().map(|t| (s.clone(), t.clone(), weight))));
                        nodes.extend_from_slice(&ends);
                        before = ends;
                    }
                }
                ast::Stmt::Attribute(_) | ast::Stmt::GAttribute(_) => {}
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        Ok(nodes)
    }

    fn node(&mut self, id: &ast::NodeId, attributes: &[ast::Attribute]) -> String {
        let id = unquoted(spelling(&id.0), None);
        let label = attribute(attributes, "label").map(|label| unquoted(label, Some(&id)));
        let name = self.names.entry(id.clone()).or_insert_with(|| id.clone());
        if let Some(label) = label {
            *name = label;
        }
        id
    }
}

fn spelling(id: &ast::Id) -> &str {
    let (ast::Id::Html(text) | ast::Id::Escaped(text) | ast::Id::Plain(text) | ast::Id::Anonymous(text)) = id;
    text
}

/// The last value of an attribute counts.
fn attribute<'a>(attributes: &'a [ast::Attribute], wanted: &str) -> Option<&'a str> {
    attributes
        .iter()
        .rev()
        .find(|ast::Attribute(key, _)| unquoted(spelling(key), None) == wanted)
        .map(|ast::Attribute(_, value)| spelling(value))
}

fn weight_in(attributes: &[ast::Attribute], usual: f64) -> std::result::Result<f64, String> {
    let given = ["weight", "partial_correlation"].into_iter().find_map(|wanted| attribute(attributes, wanted));
    given.map_or(Ok(usual), |value| weight(&unquoted(value, None)))
}

/// The text with its names in quotes, without comments, and with `subgraph` before every inner brace. As it stands the parser would
/// misread some of DOT without a word: 01 as two names, a # anywhere as a comment, markup up to the next >> as one string.
fn spelt_out(text: &str) -> std::result::Result<String, String> {
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut out = String::with_capacity(2 * rest.len());
    let (mut depth, mut line, mut announced) = (0, 1, false);
    while let Some(first) = rest.chars().next() {
        let unfinished = |what: &str| format!("line {line} opens {what} that never ends; close it");
        let at_line_start = out.is_empty() || out.ends_with('\n');
        let comment = rest.starts_with("//") || (first == '#' && at_line_start);
        let length = match first {
            _ if comment => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").ok_or_else(|| unfinished("a comment"))? + 2,
            '"' => string(rest).ok_or_else(|| unfinished("a quoted name"))?,
            '<' => markup(rest).ok_or_else(|| unfinished("markup"))?,
            '-' if rest.starts_with("--") || rest.starts_with("->") => 2,
            _ => word(rest).max(first.len_utf8()),
        };
        let (token, after) = rest.split_at(length);
        match first {
            _ if comment => {}
            '/' if token.len() > 1 => out.extend(std::iter::once(' ').chain(token.chars().filter(|c| *c == '\n'))),
            '"' => out.push_str(token),
            '<' => out.push_str(&format!("\"{}\"", token.replace('\\', r"\\").replace('"', "\\\""))),
            _ if word(token) > 0 => match token.to_ascii_lowercase().as_str() {
                keyword @ ("strict" | "graph" | "digraph" | "subgraph" | "node" | "edge") => {
                    announced = keyword.ends_with("graph");
                    out.push_str(keyword);
                }
                _ if is_id(token) => out.push_str(&format!("\"{token}\"")),
                _ => return Err(format!("line {line}: '{token}' is neither a name nor a number; put it in double quotes")),
            },
            _ if first.is_whitespace() => out.push(if first == '\n' { '\n' } else { ' ' }),
            _ => {
                if first == '{' {
                    depth += 1;
                    out.push_str(if announced { "" } else { "subgraph " });
                } else if first == '}' {
                    depth = depth.max(1) - 1;
                }
                if depth > DEEPEST {
                    return Err(format!("line {line} has more than {DEEPEST} braces within braces; write its subgraphs side by side"));
                }
                announced = false;
                out.push_str(token);
            }
        }
        line += token.matches('\n').count();
        rest = after;
    }
    Ok(out)
}

/// Where the quoted string at the start ends.
fn string(text: &str) -> Option<usize> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    end.map(|(at, _)| at + 1)
}

/// Where the markup at the start ends: with its outermost bracket.
fn markup(text: &str) -> Option<usize> {
    let mut depth = 0;
    let end = text.char_indices().find(|(_, c)| {
        depth += i64::from(*c == '<') - i64::from(*c == '>');
        depth == 0
    });
    end.map(|(at, _)| at + 1)
}

/// Where the unquoted name or number at the start ends; a hyphen belongs to it, so that it can be refused, unless it begins an edge.
fn word(text: &str) -> usize {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || (!c.is_ascii() && !c.is_whitespace());
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if !(inside(c) || (c == '-' && characters.peek().is_some_and(|(_, next)| inside(*next)))) {
            return at;
        }
    }
    text.len()
}

/// Whether DOT takes an unquoted word for one name or number.
fn is_id(word: &str) -> bool {
    let number = word.strip_prefix('-').unwrap_or(word);
    let is_number = number.chars().all(|c| c.is_ascii_digit() || c == '.') && number.matches('.').count() < 2 && number != ".";
    is_number || !(word.starts_with(|c: char| c.is_ascii_digit()) || word.contains(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, f64)> {
        read_dot(text, "x").unwrap()
    }

    fn pairs(text: &str) -> Vec<String> {
        read(text).iter().map(|(s, t, weight)| format!("{s}-{t} {weight}")).collect()
    }

    #[test]
    fn names_are_escaped() {
        assert!(TaskGraph::empty(&["a \"quoted\""]).to_dot().contains(r#"label="a \"quoted\"""#));
        assert_eq!(read(r#"graph { "a \"b\\" -- c [weight="0.5"]; c [label="\N\nd"] }"#), [(r#"a "b\"#.into(), "c\nd".into(), 0.5)]);
        assert_eq!(pairs("graph { \"C:\\x\" -- \"two \\\nparts\" }"), [r"C:\x-two parts 1"]);
    }

    #[test]
    fn every_form_of_an_edge_is_read() {
        assert_eq!(pairs("graph { a -- b -- c [weight=2] }"), ["a-b 2", "b-c 2"]);
        assert_eq!(pairs("strict digraph g { a -> b; a:port -> c }"), ["a-b 1", "a-c 1"]);
        assert_eq!(pairs("graph { a -- {b c} -- d }"), ["a-b 1", "a-c 1", "b-d 1", "c-d 1"]);
        assert_eq!(pairs("graph { a -- subgraph s { b -- c } }"), ["b-c 1", "a-b 1", "a-c 1"]);
        assert_eq!(
            pairs("graph { subgraph cluster_1 { label=one; edge [weight=3]; a -- b } { rank=same; b; c } b -- c }"),
            ["a-b 3", "b-c 1"]
        );
        assert_eq!(pairs("graph {{{{{{{ a -- b }}}}}}}"), ["a-b 1"]);
        assert_eq!(pairs("Graph{node[shape=box];edge[weight=.5]a--b[color=red][weight=4]b--c}"), ["a-b 4", "b-c 0.5"]);
    }

    /// What the parser by itself would misread.
    #[test]
    fn words_comments_and_markup_are_kept_apart() {
        assert_eq!(pairs("graph { 01 -- 02; -1 -- 1.; Zürich -- _x }"), ["01-02 1", "-1-1. 1", "Zürich-_x 1"]);
        assert_eq!(pairs("# graph\ngraph { /* a -- \n z */ a -- b // c\n# d -- e\n b -- c }"), ["a-b 1", "b-c 1"]);
        let markup = "graph { z [tooltip=<x>]; a -- b; z [tooltip=<<b>y</b>>]; b [label=<b>] }";
        assert_eq!(pairs(markup), ["a-<b> 1"]);
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        for (text, word) in [
            ("graph { a; b }", "no edge"),
            ("graph { a -- b [weight=much] }", "'much' is not a finite number"),
            ("graph { edge [weight=inf]; a -- b }", "'inf'"),
            ("graph { a -- b\n {a b} -- c }", "line 2 cannot be read"),
            ("graph { a -- }", "line 1 cannot be read"),
            ("a,b\n1,2\n", "line 1 cannot be read"),
            ("graph { a -- {} }", "without nodes"),
            ("graph { a -- north-east }", "'north-east' is neither a name nor a number; put it in double quotes"),
            ("graph { a\n -- 1st }", "line 2: '1st'"),
            ("graph { a:b:ne -- c }", "line 1"),
            ("graph { a -- \"b }", "a quoted name that never ends"),
            ("graph { a -- b /* }", "a comment that never ends"),
            ("graph { a [label=<<b>x] }", "markup that never ends"),
            ("graph { a [label=\"c\"]; a -- b; b -- c }", "'a' and 'c' are both named 'c'"),
            ("graph {{{{{{{{ a -- b }}}}}}}}", "more than 7 braces"),
        ] {
            let error = read_dot(text, "x.dot").unwrap_err().to_string();
            assert!(error.starts_with("x.dot: ") && error.contains(word), "{error}");
        }
    }
}
