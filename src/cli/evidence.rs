//! `--evidence`: whether the log-likelihood of a family is also found exactly.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(super) struct EvidenceArgs {
    /// What is found of the log-likelihood of a family other than the Gaussian
    #[arg(long, value_enum, default_value_t = EvidenceArg::Approximate)]
    evidence: EvidenceArg,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum EvidenceArg {
    /// Its bound or Laplace's approximation, which the fit maximises
    Approximate,
    /// Beside that the exact one at the fit (quadrature, or importance sampling with a standard error), by which AIC and BIC go then,
    /// and Pareto k-hat of every task: above 0.7 the Gaussian in the place of its posterior is a poor one
    Exact,
}

impl EvidenceArgs {
    pub(super) fn is_exact(&self) -> bool {
        self.evidence == EvidenceArg::Exact
    }
}
