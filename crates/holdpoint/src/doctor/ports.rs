//! Whether the ports can be listened on, if we do not listen there already.

use std::net::SocketAddr;

use super::{Finding, Machine, Verdict};
use crate::{data::Presence, port};

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let config = &machine.config;
    let mut findings = Vec::new();
    match machine.context.data.presence() {
        Ok(Presence::Running(control)) => {
            findings.push(Finding::ok(format!("Holdpoint itself listens at {}", control.url)));
        }
        _ => {
            let plain = SocketAddr::new(config.host, config.port);
            let addresses = std::iter::once(plain).chain(config.server.tls.as_ref().map(|tls| tls.address));
            findings.extend(addresses.map(free));
        }
    }
    if !config.host.is_loopback() && config.server.tls.is_none() && config.base_url.is_none() {
        findings.push(
            Finding::warning(format!("{} is reached from beyond this machine, without TLS", config.host))
                .because("whoever is on the way reads passwords and tokens")
                .next("`tls = { cert = …, key = … }` below `[server]` in holdpoint.toml, or a proxy with TLS and `base_url`"),
        );
    }
    findings
}

fn free(address: SocketAddr) -> Finding {
    match port::check(address) {
        Ok(()) if address.port() == 0 => Finding::ok("any port that is free"),
        Ok(()) => Finding::ok(format!("{address} is free")),
        Err(failure) => Finding::of(Verdict::Problem, failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_taken_port_is_a_problem_that_says_who_has_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("free port");
        let finding = free(listener.local_addr().expect("address"));
        assert_eq!(finding.verdict, Verdict::Problem);
        assert!(finding.why.contains(&std::process::id().to_string()), "{finding:?}");
        assert_eq!(free(([127, 0, 0, 1], 0).into()).verdict, Verdict::Ok);
    }
}
