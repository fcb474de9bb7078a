//! Images of agents and registries against real parts: Podman, apt, pip and npm with what they install, and Debian's
//! `docker-registry` on this machine. `cargo xtask tools` installs all of them on Debian.

mod agents;
mod parts;
mod registry;
