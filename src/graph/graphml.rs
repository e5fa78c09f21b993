//! GraphML: the task graph for Cytoscape, Gephi, networkx and igraph, and a known graph from them.

use super::TaskGraph;
use super::formats::{Edges, named, refused, weight};
use crate::error::Result;
use petgraph_graphml::GraphMl;
use roxmltree::{Document, Node};
use std::borrow::Cow;
use std::collections::BTreeMap;

impl TaskGraph {
    /// GraphML text: nodes with `task`, edges with `partial_correlation`, or `weight` where they join tasks of a cluster, and, where there are, `low`, `high`, `probability`,
    /// `sign_probability` and `score`.
    ///
    /// ```
    /// let graph = cognate::TaskGraph::empty(&["a & b", "c"]);
    /// assert!(graph.to_graphml().contains("a &amp; b"));
    /// ```
    pub fn to_graphml(&self) -> String {
        let text = GraphMl::new(self.as_petgraph())
            .pretty_print(true)
            .export_node_weights(Box::new(|node| vec![("task".into(), Cow::Owned(node.task.clone()))]))
            .export_edge_weights(Box::new(|edge| {
                let (low, high) = edge.interval.unzip();
                // The weight by which it is read.
                let (partial, weight) = match edge.is_membership() {
                    true => (None, Some(edge.strength())),
                    false => (Some(edge.partial_correlation), None),
                };
                let numbers = [partial, weight, low, high, edge.probability, edge.sign_probability, edge.score];
                let named = NUMBERS.into_iter().zip(numbers);
                named.filter_map(|(name, number)| Some((name.into(), Cow::Owned(number?.to_string())))).collect()
            }))
            .to_string();
        keys_in_order(&text)
    }
}

/// What an edge may have.
const NUMBERS: [&str; 7] = ["partial_correlation", "weight", "low", "high", "probability", "sign_probability", "score"];

/// The declarations, which come in any order and as text, in one order, those of numbers as such.
fn keys_in_order(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let is_key = |line: &String| line.trim_start().starts_with("<key ");
    let first = lines.iter().position(is_key).unwrap_or(0);
    let count = lines[first..].iter().take_while(|line| is_key(line)).count();
    let keys = &mut lines[first..first + count];
    keys.sort();
    for line in keys.iter_mut().filter(|line| NUMBERS.iter().any(|name| line.contains(&format!("id=\"{name}\"")))) {
        *line = line.replace("attr.type=\"string\"", "attr.type=\"double\"");
    }
    lines.join("\n")
}

/// Reads a known graph from GraphML text as (task, task, weight), one for every edge, directed or not. A node is called by its data `task`,
/// else `name`, else `label`, else by its id; the weight is the edge's data `weight`, else `partial_correlation`, else 1, whatever its sign.
/// `name` is the file's, for messages. Cost: linear in the text.
///
/// ```
/// let mut graph = cognate::TaskGraph::empty(&["a", "b"]);
/// graph.connect(0, 1, -0.5, None);
/// assert_eq!(cognate::read_graphml(&graph.to_graphml(), "g.graphml")?, [("a".to_string(), "b".to_string(), 0.5)]);
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Table`](crate::Error::Table) for text that is not GraphML, an edge without two known ends or with a weight that is no number,
/// two nodes of one name, and no edge at all.
///
/// Source: the GraphML primer (Brandes, Eiglsperger and Lerner), for keys, their names and defaults.
pub fn read_graphml(text: &str, name: &str) -> Result<Edges> {
    edges(text).map_err(refused(name))
}

fn edges(text: &str) -> std::result::Result<Edges, String> {
    let text = text.trim_start_matches('\u{feff}');
    let document = Document::parse(text).map_err(|error| format!("it is not well-formed XML ({error}); save it as GraphML again"))?;
    let root = document.root_element();
    if root.tag_name().name() != "graphml" {
        return Err(format!("its outermost element is <{}>, not <graphml>; save it as GraphML", root.tag_name().name()));
    }
    let keys = Keys(root.children().filter(|child| child.tag_name().name() == "key").collect());
    let (mut names, mut edges) = (BTreeMap::new(), Vec::new());
    for element in root.descendants().filter(|element| element.tag_name().namespace() == root.tag_name().namespace()) {
        let attribute = |what: &str| match element.attribute(what) {
            Some(value) => Ok(value.to_string()),
            None => Err(format!("a <{}> has no attribute {what}; add it", element.tag_name().name())),
        };
        match element.tag_name().name() {
            "node" => {
                let id = attribute("id")?;
                let given = ["task", "name", "label"].into_iter().find_map(|wanted| keys.value(element, wanted));
                if names.insert(id.clone(), given.unwrap_or_else(|| id.clone())).is_some() {
                    return Err(format!("two nodes have the id '{id}'; rename one"));
                }
            }
            "edge" => {
                let given = ["weight", "partial_correlation"].into_iter().find_map(|wanted| keys.value(element, wanted));
                edges.push((attribute("source")?, attribute("target")?, given.map_or(Ok(1.0), |text| weight(&text))?));
            }
            "hyperedge" => return Err("it has a <hyperedge>; write an <edge> for every pair instead".into()),
            _ => {}
        }
    }
    named(&names, edges)
}

/// The `<key>` elements: what the data of nodes and edges are called, and their values where they are not given.
struct Keys<'a>(Vec<Node<'a, 'a>>);

impl Keys<'_> {
    /// The data of `element` called `wanted`, unless it is empty.
    fn value(&self, element: Node, wanted: &str) -> Option<String> {
        let called = |key: &str| {
            let own = self.0.iter().find(|own| own.attribute("id") == Some(key));
            own.and_then(|own| own.attribute("attr.name")).unwrap_or(key) == wanted
        };
        let domain = element.tag_name().name();
        let given = element.children().find(|data| data.tag_name().name() == "data" && data.attribute("key").is_some_and(called));
        let default = || {
            let own = self.0.iter().find(|own| {
                own.attribute("id").is_some_and(called) && matches!(own.attribute("for"), Some(kind) if kind == domain || kind == "all")
            })?;
            own.children().find(|child| child.tag_name().name() == "default")
        };
        let text: String = given.or_else(default)?.descendants().filter(Node::is_text).filter_map(|part| part.text()).collect();
        Some(text).filter(|text| !text.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(body: &str) -> String {
        format!(
            r#"<?xml version="1.0"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">
            <key id="d0" for="node" attr.name="name" attr.type="string"/><key id="d1" for="edge" attr.name="weight"><default>2</default></key>
            <graph edgedefault="directed">{body}</graph></graphml>"#
        )
    }

    #[test]
    fn names_and_weights_are_found() {
        let nodes = r#"<node id="n0"><data key="d0"> north </data></node><node id="n1"><data key="d0"/></node>
            <node id="n2"><data key="label">l</data><data key="task">south <![CDATA[& east]]></data></node>"#;
        let ends = r#"<edge source="n0" target="n1"><data key="d1">0.5</data></edge><edge source="n2" target="n0"/>"#;
        let found = read_graphml(&file(&format!("{ends}{nodes}")), "x").unwrap();
        assert_eq!(found, [("north".into(), "n1".into(), 0.5), ("south & east".into(), "north".into(), 2.0)]);
        let bare = r#"<graphml><graph><node id="a"/><node id="b"/><edge source="a" target="b"><data key="partial_correlation">-0.2</data></edge>
            <edge source="b" target="a"/></graph></graphml>"#;
        let found = read_graphml(bare, "x").unwrap();
        assert_eq!(found, [("a".into(), "b".into(), -0.2), ("b".into(), "a".into(), 1.0)]);
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        let two = r#"<node id="a"/><node id="b"/>"#;
        for (body, word) in [
            (two.to_string(), "no edge"),
            (format!(r#"{two}<edge source="a" target="c"/>"#), "'c', which is no node"),
            (format!(r#"{two}<edge source="a"/>"#), "<edge> has no attribute target"),
            (format!(r#"{two}<edge source="a" target="b"><data key="d1">much</data></edge>"#), "'much' is not a finite number"),
            (format!(r#"{two}<edge source="a" target="b"><data key="weight">NaN</data></edge>"#), "'NaN'"),
            (format!(r#"{two}<node id="c"><data key="d0">a</data></node><edge source="a" target="b"/>"#), "'a' and 'c' are both named 'a'"),
            (format!(r#"{two}<node id="a"/><edge source="a" target="b"/>"#), "two nodes have the id 'a'"),
            (format!(r#"{two}<node/><edge source="a" target="b"/>"#), "<node> has no attribute id"),
            (format!("{two}<hyperedge/>"), "<hyperedge>"),
            (format!("{two}<edge"), "not well-formed"),
        ] {
            let error = read_graphml(&file(&body), "x.graphml").unwrap_err().to_string();
            assert!(error.starts_with("x.graphml: ") && error.contains(word), "{error}");
        }
        assert!(read_graphml("<svg/>", "x").unwrap_err().to_string().contains("<svg>"));
        assert!(read_graphml("<!DOCTYPE graphml><graphml/>", "x").unwrap_err().to_string().contains("DTD"));
    }
}
