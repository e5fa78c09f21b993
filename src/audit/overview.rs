//! All tasks at a glance: how much each is taught and by whom, and where more rows would help most.

use super::{Allocation, Audit, Donors};
use crate::error::Result;
use serde::Serialize;

/// Most tasks of which every pair is weighed for an overview.
const MOST_WEIGHED: usize = 2_000;

/// What an audit says of all tasks.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// Name of the structure of the fit.
    pub structure: String,
    /// How many features the weights are means over: those that are combinations of others are not counted.
    pub features: usize,
    /// How many tasks the fit has.
    pub count: usize,
    /// The tasks that were asked for, the one with the smallest weight of its own first.
    pub tasks: Vec<Summary>,
    /// Where more rows would help most; none of estimates from elsewhere, and of related tasks too many for it.
    pub allocation: Option<Allocation>,
}

/// [`Donors`] in short.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The task.
    pub task: String,
    /// Its rows.
    pub rows: u64,
    /// The weight of its own rows.
    pub own: f64,
    /// How much goes through the common mean.
    pub mean: f64,
    /// The weight of what was believed before the rows.
    pub prior: f64,
    /// How many donors there are in effect.
    pub effective_donors: f64,
    /// The strongest of them; none where nothing is shared.
    pub strongest_donor: Option<String>,
    /// Its weight.
    pub strongest_weight: Option<f64>,
}

impl From<Donors> for Summary {
    fn from(donors: Donors) -> Self {
        let strongest = donors.donors.first();
        Summary {
            task: donors.task,
            rows: donors.rows,
            own: donors.own,
            mean: donors.mean,
            prior: donors.prior,
            effective_donors: donors.effective_donors,
            strongest_donor: strongest.map(|donor| donor.task.clone()),
            strongest_weight: strongest.map(|donor| donor.weight),
        }
    }
}

impl Audit<'_> {
    /// The tasks whose own rows have the smallest weight, at most `most` of them and of more than 2,000 tasks at most 100, and what `rows` more rows of each
    /// task would be worth. [`Audit::donors`] of each that is shown and [`Audit::allocation`].
    ///
    /// # Errors
    /// [`Error::Arguments`](crate::Error::Arguments) for rows that are not a positive number, and as [`Audit::donors`].
    ///
    /// ```
    /// # use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, audit::Audit};
    /// # let mut rows = Rows::new("growth", &["light"]);
    /// # for i in 0..90 {
    /// #     let (field, light) = (if i < 4 { 0 } else { 1 + i % 5 }, f64::from(i % 9) / 4.0);
    /// #     let growth = 2.0 + 0.3 * f64::from(field % 4) + light + f64::from((i * 5 + field) % 7) * 0.1;
    /// #     rows.push(&format!("field {field}"), &[light], growth, 1.0)?;
    /// # }
    /// # let tasks = rows.tasks(&Design::varying(rows.features()));
    /// # let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let overview = Audit::of(&fit)?.overview(2, 10.0)?;
    /// // Field 0 has the fewest rows, so that it is taught most and would gain most.
    /// assert_eq!((overview.tasks.len(), overview.tasks[0].task.as_str()), (2, "field 0"));
    /// assert_eq!(overview.allocation.unwrap().tasks[0].task, "field 0");
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn overview(&self, most: usize, rows: f64) -> Result<Overview> {
        const MANY: usize = 100;
        let count = self.tasks();
        let allocation = if self.fit.tasks().are_estimates() || !self.pairs_are_few() { None } else { Some(self.allocation(rows)?) };
        let most = if count > MOST_WEIGHED { most.min(MANY) } else { most };
        let chosen = if most < count { self.least_own(most)? } else { (0..count).collect() };
        let mut tasks: Vec<Summary> = self.donors_of(&chosen)?.into_iter().map(Summary::from).collect();
        tasks.sort_by(|a, b| a.own.total_cmp(&b.own));
        Ok(Overview { structure: self.fit.structure().into(), features: self.features, count, tasks, allocation })
    }
}
