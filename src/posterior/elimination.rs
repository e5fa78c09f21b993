//! The order in which the tasks of a graph are eliminated and where its factor fills in: made once, whatever the blocks.

use crate::graph::TaskGraph;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// A tree of groups for each connected component.
pub(super) struct Elimination {
    pub(super) trees: Vec<Arc<Tree>>,
    /// Tree and position of each task.
    pub(super) place: Vec<(usize, usize)>,
}

/// The tasks of a component, by their position in the order of elimination.
pub(super) struct Tree {
    /// Task at each position.
    pub(super) tasks: Vec<usize>,
    pub(super) groups: Vec<Group>,
    /// Group of each position.
    pub(super) owners: Vec<usize>,
    /// Groups that need nothing of one another, from those that need no other to the last.
    pub(super) levels: Vec<Range<usize>>,
}

/// Tasks that are eliminated together, for once the first is gone the others have the same neighbours.
pub(super) struct Group {
    pub(super) own: Range<usize>,
    /// Later positions that are neighbours at the elimination, ascending. All are own or below in the parent.
    pub(super) below: Vec<usize>,
    /// Groups whose first position below is here.
    pub(super) children: Vec<usize>,
}

impl Group {
    /// Where a position is among those of its own and then those below; none where it is neither.
    pub(super) fn slot(&self, position: usize) -> Option<usize> {
        if self.own.contains(&position) {
            return Some(position - self.own.start);
        }
        self.below.binary_search(&position).ok().map(|slot| self.own.len() + slot)
    }

    /// How many tasks take part in its elimination.
    pub(super) fn size(&self) -> usize {
        self.own.len() + self.below.len()
    }
}

impl Elimination {
    /// Of every component by minimum degree.
    pub(super) fn of(graph: &TaskGraph) -> Self {
        let mut place = vec![(0, 0); graph.len()];
        let trees: Vec<Arc<Tree>> = graph.components().iter().map(|members| Arc::new(Tree::of(graph, members))).collect();
        for (number, tree) in trees.iter().enumerate() {
            tree.tasks.iter().enumerate().for_each(|(position, t)| place[*t] = (number, position));
        }
        Elimination { trees, place }
    }

    /// Blocks of the factor, its diagonal ones among them.
    pub(super) fn blocks(&self) -> usize {
        let own = |group: &Group| group.own.len() * (group.own.len() + 1) / 2 + group.own.len() * group.below.len();
        self.trees.iter().flat_map(|tree| &tree.groups).map(own).sum()
    }

    /// Memory that a factor with r x r blocks and the inverse on its pattern take.
    pub(super) fn needed_mb(&self, r: usize) -> u64 {
        (self.most_blocks() * r * r * 8) as u64 / 1_000_000
    }

    /// Most blocks in memory at once: those of the factor beside what is yet to be added to it, or beside the inverse on the same pattern.
    fn most_blocks(&self) -> usize {
        let kept: usize = self.trees.iter().flat_map(|tree| &tree.groups).map(|group| group.own.len() * group.size()).sum();
        kept + kept.max(self.trees.iter().map(|tree| tree.rests()).sum())
    }
}

impl Tree {
    fn of(graph: &TaskGraph, members: &[usize]) -> Self {
        let local = |t: usize| members.binary_search(&t).expect("neighbours are in the same component");
        let near = members.iter().enumerate().map(|(i, t)| {
            let mut list: Vec<usize> = graph.neighbours(*t).into_iter().map(local).chain([i]).collect();
            list.sort_unstable();
            list
        });
        let eliminated = minimum_degree(near.collect());
        let mut first = vec![0; members.len()];
        eliminated.iter().enumerate().for_each(|(number, (own, _))| own.iter().for_each(|i| first[*i] = number));
        let parents: Vec<Option<usize>> = eliminated.iter().map(|(_, below)| below.iter().map(|i| first[*i]).min()).collect();
        let mut heights = vec![0; eliminated.len()];
        for (number, parent) in parents.iter().enumerate() {
            parent.iter().for_each(|parent| heights[*parent] = heights[*parent].max(heights[number] + 1));
        }
        let mut order: Vec<usize> = (0..eliminated.len()).collect();
        order.sort_by_key(|number| heights[*number]);

        let mut tree = Tree { tasks: Vec::new(), groups: Vec::new(), owners: Vec::new(), levels: Vec::new() };
        let (mut position, mut renumbered) = (vec![0; members.len()], vec![0; eliminated.len()]);
        for (number, before) in order.iter().enumerate() {
            renumbered[*before] = number;
            for i in &eliminated[*before].0 {
                position[*i] = tree.tasks.len();
                tree.tasks.push(members[*i]);
                tree.owners.push(number);
            }
        }
        for before in &order {
            let (own, below) = &eliminated[*before];
            let mut below: Vec<usize> = below.iter().map(|i| position[*i]).collect();
            below.sort_unstable();
            let start = position[own[0]];
            tree.groups.push(Group { own: start..start + own.len(), below, children: Vec::new() });
        }
        for before in &order {
            parents[*before].iter().for_each(|parent| tree.groups[renumbered[*parent]].children.push(renumbered[*before]));
        }
        let mut start = 0;
        for level in order.chunk_by(|a, b| heights[*a] == heights[*b]) {
            tree.levels.push(start..start + level.len());
            start += level.len();
        }
        tree
    }

    pub(super) fn owner(&self, position: usize) -> &Group {
        &self.groups[self.owners[position]]
    }

    /// Blocks of the whole inverse that are kept.
    pub(super) fn pairs(&self) -> usize {
        self.groups.iter().map(|group| group.own.len() * (self.tasks.len() - group.own.start)).sum()
    }

    /// Most blocks at once of what groups leave to be added to their parents' fronts.
    fn rests(&self) -> usize {
        let rest = |number: usize| self.groups[number].below.len().pow(2);
        let (mut kept, mut most) = (0, 0);
        for level in &self.levels {
            kept += level.clone().map(rest).sum::<usize>();
            most = most.max(kept);
            kept -= level.clone().flat_map(|number| &self.groups[number].children).map(|child| rest(*child)).sum::<usize>();
        }
        most
    }
}

/// Groups of tasks and their remaining neighbours, of a graph whose tasks are each in their own list of neighbours, ascending: always
/// one with the fewest is eliminated, its neighbours become neighbours of each other, and those that now have no further ones go with it.
fn minimum_degree(mut near: Vec<Vec<usize>>) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut queue: BTreeSet<(usize, usize)> = near.iter().enumerate().map(|(t, list)| (list.len(), t)).collect();
    let mut eliminated = Vec::new();
    while let Some((_, t)) = queue.pop_first() {
        let mut met = std::mem::take(&mut near[t]);
        met.retain(|s| *s != t);
        for s in &met {
            let list = &mut near[*s];
            queue.remove(&(list.len(), *s));
            list.retain(|u| *u != t);
            list.extend(&met);
            // Stable, for it merges two ascending runs in linear time.
            list.sort();
            list.dedup();
        }
        let (mut own, below): (Vec<usize>, Vec<usize>) = met.iter().partition(|s| near[**s].len() == met.len());
        for s in &below {
            near[*s].retain(|u| own.binary_search(u).is_err());
            queue.insert((near[*s].len(), *s));
        }
        own.insert(0, t);
        eliminated.push((own, below));
    }
    eliminated
}
