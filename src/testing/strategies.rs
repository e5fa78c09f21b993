//! Strategies of proptest that draw valid rows, tasks, priors and task graphs, and shrink them towards few tasks, few rows and simple numbers.

use crate::graph::TaskGraph;
use crate::prior::{Mean, Prior, Relatedness};
use crate::tasks::{Design, Rows, Tasks};
use nalgebra::{DMatrix, DVector};
use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use std::ops::Range;

/// Largest size of a feature, and of a mean.
const LARGEST: f64 = 3.0;

/// What tasks are called: `task 0`, `task 1` and so on.
fn names(tasks: usize) -> Vec<String> {
    (0..tasks).map(|t| format!("task {t}")).collect()
}

/// Rows of so many tasks, so many of each, with so many features `x1`, `x2`, .. between -3 and 3, and targets with their weights (y, weight) as `target`
/// draws them, which has to know what the family takes. Shrinks by leaving tasks and rows out, then features towards 0 and targets as `target` does.
/// The target is called `y`.
///
/// ```
/// use cognate::testing::strategies::rows;
/// use proptest::prelude::*;
/// use proptest::test_runner::TestRunner;
/// // Counts.
/// let counts = rows(2..=4, 1, 3..6, (0u32..20).prop_map(|y| (f64::from(y), 1.0)));
/// TestRunner::deterministic()
///     .run(&counts, |rows| {
///         prop_assert!((2..=4).contains(&rows.names().len()) && rows.len() >= 6);
///         prop_assert!((0..rows.len()).all(|i| rows.y(i) >= 0.0 && rows.x(i).len() == 1));
///         Ok(())
///     })
///     .unwrap();
/// ```
pub fn rows(
    tasks: impl Into<SizeRange>,
    features: usize,
    each: impl Into<SizeRange>,
    target: impl Strategy<Value = (f64, f64)>,
) -> impl Strategy<Value = Rows> {
    let row = (vec(number(LARGEST), features), target);
    vec(vec(row, each), tasks).prop_filter_map("a target, weight or feature that rows refuse", move |all| {
        let features: Vec<String> = (1..=features).map(|k| format!("x{k}")).collect();
        let mut rows = Rows::new("y", &features);
        for (name, own) in names(all.len()).iter().zip(all) {
            for (x, (y, weight)) in own {
                rows.push(name, &x, y, weight).ok()?;
            }
        }
        Some(rows)
    })
}

/// As [`rows`], of tasks in which all features and an intercept vary, and which keep their rows. Of rows that make tasks at all: a target or a feature
/// that is the same in all rows is not drawn, and there is a row.
///
/// ```
/// use cognate::testing::strategies::tasks;
/// use cognate::{Gaussian, Model, Pooled};
/// use proptest::prelude::*;
/// use proptest::test_runner::TestRunner;
/// let numbers = tasks(2..=4, 1, 4..6, (-5.0..5.0, Just(1.0)));
/// TestRunner::deterministic()
///     .run(&numbers, |tasks| {
///         let fit = Model::new(Gaussian::default(), Pooled { task_intercepts: false }).fit(&tasks);
///         prop_assert!(fit.is_ok_and(|fit| fit.log_likelihood().is_finite()));
///         Ok(())
///     })
///     .unwrap();
/// ```
pub fn tasks(
    tasks: impl Into<SizeRange>,
    features: usize,
    each: impl Into<SizeRange>,
    target: impl Strategy<Value = (f64, f64)>,
) -> impl Strategy<Value = Tasks> {
    rows(tasks, features, each, target).prop_filter_map("rows that make no tasks", |rows| {
        let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).ok()?;
        tasks.check().ok()?;
        Some(tasks)
    })
}

/// Task graphs whose precision matrix is positive definite: so many tasks, on average as many edges as asked at most, of partial correlations of either sign
/// below 1 in all. Every diagonal element exceeds the sum of the sizes of its row, at most a hundredfold. Shrinks by leaving edges and tasks out, and edges
/// towards 0.
///
/// ```
/// use cognate::testing::strategies::task_graph;
/// use proptest::prelude::*;
/// use proptest::test_runner::TestRunner;
/// TestRunner::deterministic()
///     .run(&task_graph(1..8, 0..12), |graph| {
///         prop_assert!(graph.precision().cholesky().is_some());
///         Ok(())
///     })
///     .unwrap();
/// ```
pub fn task_graph(tasks: impl Into<SizeRange>, edges: impl Into<SizeRange>) -> impl Strategy<Value = TaskGraph> {
    let edge = (any::<Index>(), any::<Index>(), number(1.0));
    (vec(0.01f64..1.0, tasks), vec(edge, edges)).prop_map(|(slack, edges)| {
        let names = names(slack.len());
        let mut precision = DMatrix::from_diagonal(&DVector::from_vec(slack));
        for (s, t, value) in edges {
            if names.is_empty() {
                break;
            }
            let (s, t) = (s.index(names.len()), t.index(names.len()));
            // The first of two of the same pair; none of a task with itself.
            if s != t && value != 0.0 && precision[(s, t)] == 0.0 {
                (precision[(s, t)], precision[(t, s)]) = (value, value);
                (precision[(s, s)], precision[(t, t)]) = (precision[(s, s)] + value.abs(), precision[(t, t)] + value.abs());
            }
        }
        TaskGraph::of_precision(&names, &precision)
    })
}

/// Priors of so many tasks and features, all of which vary and have a mean: the mean given, profiled or integrated; tasks exchangeable, related along a task
/// graph, by a covariance, or by two factors; K any covariance with standard deviations between .01 and about 3. Shrinks towards exchangeable tasks, a mean
/// of 0 and a diagonal K.
///
/// ```
/// use cognate::testing::strategies::prior;
/// use cognate::{Posterior, Quadratic, Quadratics};
/// use nalgebra::{DMatrix, DVector};
/// use proptest::prelude::*;
/// use proptest::test_runner::TestRunner;
/// let said = Quadratic { constant: 0.0, linear: DVector::from_element(2, 1.0), curvature: DMatrix::identity(2, 2) };
/// let quadratics = Quadratics::new(&vec![said; 3]).unwrap();
/// TestRunner::deterministic()
///     .run(&prior(3, 2), |prior| {
///         let posterior = Posterior::given(&quadratics, &prior);
///         prop_assert!(posterior.is_ok_and(|posterior| posterior.log_likelihood().is_finite()));
///         Ok(())
///     })
///     .unwrap();
/// ```
pub fn prior(tasks: usize, features: usize) -> impl Strategy<Value = Prior> {
    (mean(features), relatedness(tasks), factor(features)).prop_map(|(mean, relatedness, factor)| Prior::new(mean, relatedness, factor))
}

fn mean(features: usize) -> impl Strategy<Value = Mean> {
    let given = vec(number(LARGEST), features).prop_map(|mean| Mean::Given(DVector::from_vec(mean)));
    prop_oneof![given, Just(Mean::Profiled), Just(Mean::Integrated)]
}

fn relatedness(tasks: usize) -> impl Strategy<Value = Relatedness> {
    let low_rank = (vec(number(1.0), 2 * tasks), vec(0.01f64..1.5, tasks)).prop_map(move |(loadings, uniquenesses)| Relatedness::LowRank {
        loadings: DMatrix::from_vec(tasks, 2, loadings),
        uniquenesses: DVector::from_vec(uniquenesses),
    });
    prop_oneof![
        Just(Relatedness::Identity),
        task_graph(tasks, 0..=2 * tasks).prop_map(Relatedness::Graph),
        factor(tasks).prop_map(|root| Relatedness::Dense(&root * root.transpose())),
        low_rank,
    ]
}

/// A lower triangle with standard deviations on its diagonal.
fn factor(size: usize) -> impl Strategy<Value = DMatrix<f64>> {
    (vec(spread(0.01..LARGEST), size), vec(number(1.0), size * size)).prop_map(move |(diagonal, below)| {
        DMatrix::from_fn(size, size, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => diagonal[i],
            // Rows stay of the size of their diagonal.
            std::cmp::Ordering::Greater => 0.5 * diagonal[i] * below[i * size + j],
        })
    })
}

/// Positive numbers, as many between 1 and 10 as between .1 and 1.
fn spread(range: Range<f64>) -> impl Strategy<Value = f64> {
    (range.start.ln()..range.end.ln()).prop_map(f64::exp)
}

/// Numbers of at most that size in steps of a thousandth of it, which shrink to 0.
fn number(size: f64) -> impl Strategy<Value = f64> {
    (-1000i32..=1000).prop_map(move |step| f64::from(step) / 1000.0 * size)
}
