//! Ports of the machine that containers hold.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use bollard::models::HostConfig;

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The address it is bound to; all addresses where unspecified.
    pub address: IpAddr,
    /// The port of the machine.
    pub number: u16,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
}

impl Published {
    /// Whether it can be bound now: binds it and lets go.
    pub fn try_bind(&self) -> io::Result<()> {
        match self.protocol.as_str() {
            "tcp" => TcpListener::bind((self.address, self.number)).map(drop),
            "udp" => UdpSocket::bind((self.address, self.number)).map(drop),
            _ => Ok(()),
        }
    }
}

/// The fixed ports of a container.
pub fn of_container(host: &HostConfig) -> Vec<Published> {
    let mut found = Vec::new();
    for (target, bindings) in host.port_bindings.iter().flatten() {
        let protocol = target.split_once('/').map_or("tcp", |(_, protocol)| protocol);
        for binding in bindings.iter().flatten() {
            let number = binding.host_port.as_deref().and_then(|port| port.parse().ok());
            if let Some(number) = number.filter(|number| *number != 0) {
                found.push(Published {
                    address: address(binding.host_ip.as_deref().unwrap_or_default()),
                    number,
                    protocol: protocol.to_owned(),
                });
            }
        }
    }
    found
}

/// `text` as an address; all IPv4 addresses where it is none.
pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
