//! In which order the rows of a heat map show who is like whom.

use kodama::{Method, linkage};

/// Most tasks that are clustered; the others stand beside the likest of as many of them, evenly drawn.
const CLUSTERED: usize = 1_000;

/// Order of so many tasks: average linkage on 1 - `alike` (Sokal and Michener 1958), every join turned so that the likest ends meet (Gruvaeus and Wainer 1972). O(T^2) up to
/// 1,000 tasks, O(1,000 T) beyond.
pub(crate) fn seriated(count: usize, alike: &dyn Fn(usize, usize) -> f64) -> Vec<usize> {
    if count <= CLUSTERED {
        return clustered(count, alike);
    }
    let drawn: Vec<usize> = (0..CLUSTERED).map(|k| k * count / CLUSTERED).collect();
    let order = clustered(CLUSTERED, &|a, b| alike(drawn[a], drawn[b]));
    let mut beside: Vec<Vec<usize>> = order.iter().map(|k| vec![drawn[*k]]).collect();
    let mut is_drawn = vec![false; count];
    drawn.iter().for_each(|t| is_drawn[*t] = true);
    for t in (0..count).filter(|t| !is_drawn[*t]) {
        let likeness = |place: usize| alike(t, drawn[order[place]]);
        let nearest = (1..order.len()).fold((0, likeness(0)), |best, place| {
            let own = likeness(place);
            if own > best.1 { (place, own) } else { best }
        });
        beside[nearest.0].push(t);
    }
    beside.concat()
}

fn clustered(count: usize, alike: &dyn Fn(usize, usize) -> f64) -> Vec<usize> {
    if count < 3 {
        return (0..count).collect();
    }
    let apart = |s: usize, t: usize| Some(1.0 - alike(s, t)).filter(|own| own.is_finite()).unwrap_or(1.0);
    let mut distances: Vec<f64> = (0..count).flat_map(|s| (s + 1..count).map(move |t| (s, t))).map(|(s, t)| apart(s, t)).collect();
    let joins = linkage(&mut distances, count, Method::Average);
    let mut parts: Vec<Vec<usize>> = (0..count).map(|t| vec![t]).collect();
    for join in joins.steps() {
        let (mut left, mut right) = (std::mem::take(&mut parts[join.cluster1]), std::mem::take(&mut parts[join.cluster2]));
        let ends = |own: &[usize]| (own[0], own[own.len() - 1]);
        let ((left_first, left_last), (right_first, right_last)) = (ends(&left), ends(&right));
        // Which side of each part meets the other.
        let meetings = [
            (apart(left_last, right_first), false, false),
            (apart(left_last, right_last), false, true),
            (apart(left_first, right_first), true, false),
            (apart(left_first, right_last), true, true),
        ];
        let (_, turn_left, turn_right) = meetings.into_iter().reduce(|best, own| if own.0 < best.0 { own } else { best }).expect("four");
        if turn_left {
            left.reverse();
        }
        if turn_right {
            right.reverse();
        }
        left.append(&mut right);
        parts.push(left);
    }
    parts.pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a line in a mixed order: the order of the line, or its reverse, is the only one in which neighbours are nearest.
    #[test]
    fn points_on_a_line_come_in_their_order() {
        for count in [2, 3, 17, 1_200] {
            // Distances grow along the line, so that every join is of neighbours.
            let place = |t: usize| f64::from(u32::try_from(t * 7 % count).unwrap()).powf(1.1);
            let order = seriated(count, &|s, t| 1.0 - (place(s) - place(t)).abs());
            let places: Vec<f64> = order.iter().map(|t| place(*t)).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..count).collect::<Vec<_>>());
            if count <= CLUSTERED {
                assert!(places.is_sorted() || places.iter().rev().is_sorted(), "{places:?}");
            } else {
                let far = places.windows(2).filter(|pair| (pair[0] - pair[1]).abs() > 10.0).count();
                assert!(far < 5, "{far} jumps");
            }
        }
    }

    #[test]
    fn groups_stay_together() {
        let order = seriated(60, &|s, t| if s % 3 == t % 3 { 0.9 } else { 0.1 });
        assert_eq!(order.windows(2).filter(|pair| pair[0] % 3 != pair[1] % 3).count(), 2);
        assert_eq!(seriated(5, &|_, _| f64::NAN).len(), 5);
    }
}
