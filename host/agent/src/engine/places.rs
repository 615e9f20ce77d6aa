//! Memory maps, shared by the containers of both engines.
//!
//! The stacks of the pool have theirs from the beginning. The memory that a
//! container of the pool had stays mapped for the next one of its like; what one
//! outside of it had is given back. So the most that were in the pool at once,
//! and those outside of it now, must fit together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::world::World;

/// Maps that a container of the pool takes for its memory.
const POOLED: usize = 4;
/// Maps that one outside of it takes for memory and stack: 4.5 on average, as
/// the system joins some of them.
const ON_DEMAND: usize = 5;

/// Places for containers.
#[derive(Debug)]
pub(crate) struct Places {
    maps: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    pooled: usize,
    most_pooled: usize,
    others: usize,
}

impl Places {
    /// In a system that allows `maps` beside the stacks of a pool for so many
    /// containers, which has its place in any case.
    pub(super) fn new(maps: u32, containers: u32) -> Self {
        Self { maps: (maps as usize).max(containers as usize * POOLED), taken: Mutex::default() }
    }

    /// One for a container of this world, until it is dropped; `None` when there
    /// is none.
    pub(crate) fn take(self: &Arc<Self>, world: World) -> Option<Place> {
        let mut taken = self.taken();
        let most_pooled = match world {
            World::Container => taken.most_pooled.max(taken.pooled + 1),
            World::ContainerSync => taken.most_pooled,
        };
        let others = taken.others + usize::from(world == World::ContainerSync);
        if most_pooled * POOLED + others * ON_DEMAND > self.maps {
            return None;
        }
        (taken.most_pooled, taken.others) = (most_pooled, others);
        taken.pooled += usize::from(world == World::Container);
        Some(Place { places: self.clone(), world })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while it is held.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a container.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    world: World,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match self.world {
            World::Container => taken.pooled -= 1,
            World::ContainerSync => taken.others -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Arc<Places>, world: World, count: usize) -> Vec<Place> {
        (0..count).map_while(|_| places.take(world)).collect()
    }

    #[test]
    fn both_worlds_have_all_places_together() {
        let places = Arc::new(Places::new(0, 10));
        let pooled = take(&places, World::Container, 5);
        let others = take(&places, World::ContainerSync, 10);
        assert_eq!((pooled.len(), others.len()), (5, 4));
        assert!(places.take(World::Container).is_none());
        drop(others);
        assert_eq!(take(&places, World::Container, 10).len(), 5);
    }

    #[test]
    fn what_was_pooled_once_stays_mapped() {
        let places = Arc::new(Places::new(0, 10));
        drop(take(&places, World::Container, 5));
        assert_eq!(take(&places, World::ContainerSync, 10).len(), 4);
        assert_eq!(take(&places, World::Container, 20).len(), 10);
    }

    #[test]
    fn as_many_find_a_place_as_the_system_has_maps() {
        let places = Arc::new(Places::new(40_030, 10_000));
        assert_eq!(take(&places, World::ContainerSync, 10_000).len(), 8_006);
        let places = Arc::new(Places::new(59_930, 50));
        assert_eq!(take(&places, World::ContainerSync, 50).len(), 50);
    }
}
