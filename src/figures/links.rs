//! The edges of the task graph as it is drawn: learned ones with their probabilities, and elsewhere the strongest relations.

use super::relation::{MOST_PAIRED, Relation};
use crate::error::Result;
use crate::graph::TaskGraph;
use crate::model::Fit;
use crate::relatedness::{Options, Relations};

/// Tasks up to which correlations are drawn for their signs and intervals, and how often.
const DRAWN: usize = 30;
const DRAWS: usize = 400;

/// Strongest relations of each task that are kept where there are no probabilities.
const NEAREST: usize = 3;

/// Most edges that are drawn.
const MOST: usize = 6_000;

/// Expected share of false edges beyond which none is kept.
pub(crate) const FALSEST: f64 = 0.5;

/// An edge that is drawn.
pub(crate) struct Link {
    pub tasks: (usize, usize),
    pub value: f64,
    /// That it exists, or that its sign is right.
    pub probability: Option<f64>,
    pub interval: Option<(f64, f64)>,
}

/// The edges, with probabilities the most probable first, else the strongest.
pub(crate) struct Links {
    /// What their values are; empty where there is no graph.
    pub of: &'static str,
    /// What the probabilities are of; none where there are none.
    pub certainty: Option<&'static str>,
    pub edges: Vec<Link>,
    pub left_out: usize,
    /// What the graph is, or why there is none.
    pub words: String,
}

impl Links {
    /// O(T^2), and for up to 30 tasks whose correlations are learned as much as their draws.
    pub(crate) fn of(fit: &Fit, relation: Option<&Relation>, seed: u64) -> Result<Self> {
        let (of, certainty, mut links) = match (fit.edge_probabilities(), fit.prior().relatedness.as_graph(), relation) {
            _ if fit.memberships().is_some() => ("", None, Vec::new()),
            (Some(sampled), _, _) => ("partial correlation", Some("that the edge exists"), of_graph(sampled)),
            (None, Some(graph), _) => ("partial correlation", None, of_graph(graph)),
            (None, None, Some(relation)) => match drawn(fit, seed)? {
                Some(links) => ("correlation", Some("that it has this sign"), links),
                None => ("correlation", None, nearest(relation, fit.tasks().len())),
            },
            (None, None, None) => ("", None, Vec::new()),
        };
        let total = links.len();
        match certainty {
            None => links.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs())),
            Some(_) => {
                links.sort_by(|a, b| a.doubt().total_cmp(&b.doubt()).then(b.value.abs().total_cmp(&a.value.abs())));
                let kept = count_at(&links, FALSEST);
                links.truncate(kept);
            }
        }
        links.truncate(MOST);
        let words = words(fit, relation, links.is_empty());
        Ok(Links { of, certainty, left_out: total - links.len(), edges: links, words })
    }

    /// The largest set of the most probable edges whose expected share of false ones is at most `rate`, up to [`FALSEST`] (the rule of
    /// [`TaskGraph::at_false_discovery_rate`]); all where there are no probabilities.
    pub(crate) fn at_rate(&self, rate: f64) -> &[Link] {
        let kept = if self.certainty.is_some() { count_at(&self.edges, rate) } else { self.edges.len() };
        &self.edges[..kept]
    }
}

impl Link {
    fn doubt(&self) -> f64 {
        1.0 - self.probability.unwrap_or(0.0)
    }
}

/// How many of the edges, the most probable first, have a mean doubt of at most `rate`.
fn count_at(links: &[Link], rate: f64) -> usize {
    let mut sum = 0.0;
    let is_kept = |(k, own): &(usize, &Link)| {
        sum += own.doubt();
        sum <= rate * (k + 1) as f64
    };
    links.iter().enumerate().take_while(is_kept).count()
}

fn of_graph(graph: &TaskGraph) -> Vec<Link> {
    let link = |(s, t, edge): (usize, usize, &crate::graph::Edge)| Link {
        tasks: (s, t),
        value: edge.partial_correlation,
        probability: edge.probability,
        interval: edge.interval,
    };
    graph.edges().map(link).collect()
}

/// All pairs with what draws tell of them; none where there are too many or nothing is drawn.
fn drawn(fit: &Fit, seed: u64) -> Result<Option<Vec<Link>>> {
    if fit.tasks().len() > DRAWN || !fit.learns_relatedness() {
        return Ok(None);
    }
    let relations = Relations::of(fit, &Options { seed, draws: Some(DRAWS), ..Options::default() })?;
    let link = |own: &crate::relatedness::Pair| {
        let rate = own.local_false_sign_rate?;
        Some(Link { tasks: own.tasks, value: own.correlation?, probability: Some(1.0 - rate), interval: own.low.zip(own.high) })
    };
    Ok(relations.pairs.iter().map(link).collect())
}

fn nearest(relation: &Relation, tasks: usize) -> Vec<Link> {
    let pairs = relation.strongest(tasks, NEAREST).into_iter();
    pairs.map(|(s, t, value)| Link { tasks: (s, t), value, probability: None, interval: None }).collect()
}

/// What the graph is, or why there is none.
fn words(fit: &Fit, relation: Option<&Relation>, is_empty: bool) -> String {
    let prior = fit.prior();
    if fit.memberships().is_some() {
        return "Tasks lie about the cluster that they are likeliest of; the fainter a task, the less sure that is. Within a cluster all tasks are equally related.".into();
    }
    match (fit.structure(), relation) {
        ("independent", _) => "No information crosses tasks, so that there is no graph.".into(),
        ("pooled" | "pooled-intercepts", _) => "All tasks share their parameters, so that there is no graph: any two are related alike.".into(),
        ("exchangeable", _) => {
            "All tasks are equally related, through their common mean: the structure exchangeable has no graph. Fit with --structure graph, factor or full to ask who is nearer to whom.".into()
        }
        ("factor", None) if (2..=MOST_PAIRED).contains(&fit.tasks().len()) => {
            "No factor was found: all tasks are equally related, through their common mean.".into()
        }
        ("known", _) if prior.relatedness.as_graph().is_some() => "The graph was given; how strongly neighbours are alike was learned.".into(),
        ("known", _) => "The correlations were given.".into(),
        _ if fit.edge_probabilities().is_some() && is_empty => {
            "No pair of tasks is likely enough to be related to be drawn: of any set of edges more than half would be expected to be false.".into()
        }
        _ if fit.edge_probabilities().is_some() => {
            "An edge says that two tasks deviate alike (or opposite) from the common mean given all others. Its probability and interval carry the noise of the tasks.".into()
        }
        (_, Some(_)) if fit.tasks().len() <= DRAWN && fit.learns_relatedness() => {
            "No graph is learned by this structure: these are correlations of deviations, with the probability that their sign is right.".into()
        }
        (_, Some(_)) => format!("No graph is learned by this structure: these are the {NEAREST} strongest correlations of each task, without probabilities."),
        _ if prior.relatedness.as_graph().is_some() => "Edges are as the fit has them, without probabilities.".into(),
        _ => "No relation of single pairs of tasks is known.".into(),
    }
}
