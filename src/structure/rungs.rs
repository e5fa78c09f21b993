//! The rungs of a ladder by name: a structure, its size, the shape of its K and whether tasks have scales of their own, such as `factor:2:full`.

use super::{FeatureCovariance, NAMES, Options, Robust};
use crate::error::{Error, Result, suggestion};

/// A structure of which there are several sizes.
struct Sized {
    name: &'static str,
    /// What its size is.
    size: &'static str,
    flag: &'static str,
    least: usize,
    /// The largest that a ladder tries where nothing is said.
    most: usize,
    asked: fn(&Options) -> Option<usize>,
}

const SIZED: [Sized; 2] = [
    Sized { name: "clusters", size: "number", flag: "--groups", least: 2, most: 3, asked: |options| options.clusters },
    Sized { name: "factor", size: "rank", flag: "--rank", least: 1, most: 3, asked: |options| options.rank },
];

const SHAPES: [(&str, FeatureCovariance); 3] =
    [("scalar", FeatureCovariance::Scalar), ("diagonal", FeatureCovariance::Diagonal), ("full", FeatureCovariance::Full)];

const ROBUST: &str = "robust";
/// What a rung is called whose independent tasks share a noise variance.
pub(crate) const SHARED_NOISE: &str = "shared-noise";

/// The name that in [`rungs`] stands for every structure of which enough is known.
pub const ALL: &str = "all";

/// What a rung's name says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rung {
    /// Place among the names.
    place: usize,
    pub size: Option<usize>,
    shape: Option<usize>,
    pub robust: bool,
    pub shared_noise: bool,
}

impl Rung {
    /// # Errors
    /// [`Error::Arguments`] for a name that is no structure's, and for what that structure cannot have.
    pub(super) fn of(text: &str) -> Result<Self> {
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let place = NAMES.iter().position(|own| *own == name).ok_or_else(|| super::unknown(name))?;
        let mut rung = Rung { place, size: None, shape: None, robust: false, shared_noise: false };
        for word in words {
            match SHAPES.iter().position(|(own, _)| *own == word) {
                _ if word == ROBUST && rung.may_be_robust() => rung.robust = true,
                _ if word == SHARED_NOISE && rung.shares_nothing() => rung.shared_noise = true,
                Some(shape) if rung.has_shape() => rung.shape = Some(shape),
                None if word != ROBUST && word != SHARED_NOISE => rung.size = Some(rung.size_of(word)?),
                _ => return Err(Error::Arguments(format!("the structure '{name}' cannot be '{word}'; leave :{word} out"))),
            }
        }
        Ok(rung)
    }

    pub(super) fn name(&self) -> &'static str {
        NAMES[self.place]
    }

    pub(super) fn feature_covariance(&self) -> Option<FeatureCovariance> {
        self.shape.map(|shape| SHAPES[shape].1)
    }

    fn sized(&self) -> Option<&'static Sized> {
        SIZED.iter().find(|own| own.name == self.name())
    }

    fn size_of(&self, word: &str) -> Result<usize> {
        let (name, number) = (self.name(), word.parse::<usize>().ok());
        let problem = match (self.sized(), number) {
            (Some(own), Some(number)) if number >= own.least => return Ok(number),
            (Some(own), Some(_)) => format!("'{word}' is no {} of the structure '{name}'; give {} or more", own.size, own.least),
            (None, Some(_)) => {
                let names = SIZED.map(|own| own.name).join(" and ");
                format!("the structure '{name}' has no sizes to choose from ('{word}'); only {names} have")
            }
            (own, None) => {
                let size = own.map_or(String::new(), |own| format!(" and is no {}", own.size));
                let near = suggestion(word, SHAPES.iter().map(|(own, _)| *own).chain([ROBUST, SHARED_NOISE]));
                format!("the structure '{name}' cannot be '{word}'{size}{near}; leave :{word} out")
            }
        };
        Err(Error::Arguments(problem))
    }

    fn shares_nothing(&self) -> bool {
        self.name() == "independent"
    }

    fn has_shape(&self) -> bool {
        !matches!(self.name(), "independent" | "pooled" | "pooled-intercepts")
    }

    fn may_be_robust(&self) -> bool {
        Robust::fits_name(self.name())
    }

    fn text(&self) -> String {
        let size = self.size.map(|size| format!(":{size}"));
        let shape = self.shape.map(|shape| format!(":{}", SHAPES[shape].0));
        let robust = self.robust.then(|| format!(":{ROBUST}"));
        let noise = self.shared_noise.then(|| format!(":{SHARED_NOISE}"));
        [Some(self.name().to_string()), size, shape, robust, noise].into_iter().flatten().collect()
    }
}

/// The rungs that names on a ladder stand for, simple to rich, each once. `factor:2`, `exchangeable:full`, `full:robust` and the like stand for
/// themselves. A structure without a size stands for every size up to that of the options, or to 3; `exchangeable` without the shape of a feature
/// covariance for scalar, diagonal and full, unless the options say one; `independent` for tasks with noise variances of their own and with a shared one. With `robust` in the options, a structure that may be has a robust rung
/// beside the plain one. `all` stands for every structure of which the options know enough, and a robust exchangeable one.
///
/// ```
/// use cognate::structure::{Options, rungs};
/// let asked = ["factor", "exchangeable", "factor:5"].map(String::from);
/// let options = Options { rank: Some(2), ..Options::default() };
/// assert_eq!(
///     rungs(&asked, &options)?,
///     ["exchangeable:scalar", "exchangeable:diagonal", "exchangeable:full", "factor:1", "factor:2", "factor:5"]
/// );
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Arguments`] for a name that is no structure's, and for a size or shape that it cannot have.
pub fn rungs(asked: &[String], options: &Options) -> Result<Vec<String>> {
    let mut found: Vec<Rung> = Vec::new();
    for text in asked {
        if text == ALL {
            let known = |name: &&&str| match **name {
                "known" => options.relation.is_some(),
                "kernel" => options.descriptors.is_some(),
                _ => true,
            };
            for name in NAMES.iter().filter(known) {
                found.extend(forms(Rung::of(name)?, options));
            }
            let robust = Rung { robust: true, ..Rung::of("exchangeable")? };
            found.push(Rung { shape: options.feature_covariance.is_none().then_some(1), ..robust });
        } else {
            found.extend(forms(Rung::of(text)?, options));
        }
    }
    found.sort_by_key(|rung| (rung.place, rung.size, rung.shape, rung.robust, rung.shared_noise));
    found.dedup();
    Ok(found.iter().map(Rung::text).collect())
}

/// The rungs that one stands for.
fn forms(rung: Rung, options: &Options) -> Vec<Rung> {
    let sizes: Vec<Option<usize>> = match (rung.sized(), rung.size) {
        (Some(own), None) => (own.least..=(own.asked)(options).unwrap_or(own.most)).map(Some).collect(),
        (_, size) => vec![size],
    };
    let shapes: Vec<Option<usize>> = match rung.shape {
        None if rung.name() == "exchangeable" && options.feature_covariance.is_none() => (0..SHAPES.len()).map(Some).collect(),
        own => vec![own],
    };
    let robust: &[bool] = match rung.robust {
        true => &[true],
        false if options.robust && rung.may_be_robust() => &[false, true],
        false => &[false],
    };
    if rung.shares_nothing() && options.shared_noise.is_none() && !rung.shared_noise {
        return vec![rung, Rung { shared_noise: true, ..rung }];
    }
    let of_size =
        |size| shapes.iter().flat_map(move |shape| robust.iter().map(move |robust| Rung { size, shape: *shape, robust: *robust, ..rung }));
    sizes.into_iter().flat_map(of_size).collect()
}

/// Most tasks for which `full` is tried unasked: an E-step takes O(T^3 r^3).
const MOST_FULL: usize = 50;

/// Whether a rung can be fitted to so many tasks with so many varying features, is not the same as another, does not ask for a covariance of as many features as there are tasks, whose
/// likelihood is highest where it is singular, and takes no more than minutes: what `all` tries.
///
/// ```
/// use cognate::structure::is_worth_trying;
/// assert!(is_worth_trying("factor:2", 3, 5)? && !is_worth_trying("factor:2", 2, 5)? && !is_worth_trying("full", 1000, 5)?);
/// assert!(is_worth_trying("exchangeable:full", 6, 5)? && !is_worth_trying("exchangeable:full", 5, 5)?);
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// As [`rungs`].
pub fn is_worth_trying(rung: &str, tasks: usize, varying: usize) -> Result<bool> {
    let rung = Rung::of(rung)?;
    let fits = rung.size.is_none_or(|size| size < tasks && (rung.name() != "factor" || size <= varying));
    // Of one feature every covariance is a number.
    let is_another = varying > 1 || rung.shape.is_none_or(|shape| SHAPES[shape].1 == FeatureCovariance::Diagonal);
    let has_enough = tasks > varying || rung.shape.is_none_or(|shape| SHAPES[shape].1 != FeatureCovariance::Full);
    Ok(fits && is_another && has_enough && (rung.name() != "full" || tasks <= MOST_FULL))
}

/// The flags by which `cognate fit` makes a rung.
///
/// ```
/// use cognate::structure::arguments;
/// assert_eq!(arguments("factor:2:robust")?, ["--structure", "factor", "--rank", "2", "--robust"]);
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// As [`rungs`].
pub fn arguments(rung: &str) -> Result<Vec<String>> {
    let rung = Rung::of(rung)?;
    let mut words = vec!["--structure".to_string(), rung.name().to_string()];
    if let (Some(own), Some(size)) = (rung.sized(), rung.size) {
        words.extend([own.flag.to_string(), size.to_string()]);
    }
    if let Some(shape) = rung.shape {
        words.extend(["--feature-covariance".to_string(), SHAPES[shape].0.to_string()]);
    }
    if rung.robust {
        words.push("--robust".into());
    }
    if rung.shared_noise {
        words.extend(["--noise", "shared"].map(String::from));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_those_that_cannot_be_are_refused() {
        let of = |text: &str| Rung::of(text).unwrap();
        assert_eq!((of("factor:4").name(), of("factor:4").size), ("factor", Some(4)));
        assert_eq!((of("graph").name(), of("graph").size), ("graph", None));
        assert_eq!(of("exchangeable:robust:full").text(), "exchangeable:full:robust");
        assert_eq!(of("clusters:3:scalar").feature_covariance(), Some(FeatureCovariance::Scalar));
        for (name, reason) in [
            ("factor:0", "give 1 or more"),
            ("factor:x", "cannot be 'x' and is no rank; leave"),
            ("exchangeable:ful", "cannot be 'ful' (did you mean 'full'?)"),
            ("graph:2", "has no sizes"),
            ("graph:robust", "cannot be 'robust'"),
            ("pooled:full", "cannot be 'full'"),
            ("pooled:shared-noise", "cannot be 'shared-noise'"),
            ("factors", "there is no structure 'factors' (did you mean 'factor'?)"),
        ] {
            assert!(Rung::of(name).unwrap_err().to_string().contains(reason), "{name}");
        }
    }

    /// Every rung is what its flags say, and all of them are in the order of the structures.
    #[test]
    fn all_are_those_of_which_enough_is_known_and_robust_ones_stand_beside_the_plain() {
        let all = rungs(&["all".into()], &Options::default()).unwrap();
        assert!(!all.iter().any(|name| name.starts_with("known") || name.starts_with("kernel")));
        assert_eq!(all.iter().filter(|name| name.starts_with("exchangeable")).count(), 4);
        assert_eq!(all[..3], ["independent", "independent:shared-noise", "pooled"]);
        assert!(all.contains(&"exchangeable:diagonal:robust".into()) && all.contains(&"factor:3".into()));
        for name in &all {
            let words = arguments(name).unwrap();
            assert_eq!(words[1], name.split(':').next().unwrap());
            assert!(super::super::by_name(name, &Options::default()).is_ok());
        }
        let options = Options { robust: true, feature_covariance: Some(FeatureCovariance::Full), ..Options::default() };
        assert_eq!(rungs(&["exchangeable".into(), "graph".into()], &options).unwrap(), ["exchangeable", "exchangeable:robust", "graph"]);
    }
}
