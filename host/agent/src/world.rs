//! The two worlds of `wit/`.

/// Which world a component is of; its exports tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `container`: its functions wait side by side.
    Container,
    /// `container-sync`: it does one thing at a time.
    ContainerSync,
}

impl World {
    /// Both; of a component that is of both, the first counts.
    pub(crate) const ALL: [Self; 2] = [Self::Container, Self::ContainerSync];

    /// As it is called in `wit/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::ContainerSync => "container-sync",
        }
    }

    /// The interface that its components export.
    pub(crate) fn guest(self) -> &'static str {
        match self {
            Self::Container => "huly:network/guest@0.1.0",
            Self::ContainerSync => "huly:network/guest-sync@0.1.0",
        }
    }

    /// The one that a component is of that exports so.
    pub(crate) fn of(exports: &[&str]) -> Option<Self> {
        Self::ALL.into_iter().find(|world| exports.contains(&world.guest()))
    }
}
