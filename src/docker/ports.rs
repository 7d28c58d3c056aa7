//! Fixed ports of the machine that services publish.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use super::Service;

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

impl Service {
    /// The fixed ports of the machine it publishes; a range is resolved by the engine and is none of them.
    pub fn published(&self) -> Vec<Published> {
        self.ports.iter().filter_map(|text| parse(text)).collect()
    }
}

/// From `ip:published:target/protocol` or `published:target/protocol`.
fn parse(text: &str) -> Option<Published> {
    let (rest, protocol) = text.rsplit_once('/')?;
    let (rest, _target) = rest.rsplit_once(':')?;
    let (address, number) = match rest.rsplit_once(':') {
        Some((address, number)) => (address.trim_matches(['[', ']']).parse().ok()?, number),
        None => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), rest),
    };
    let number = number.parse().ok().filter(|number| *number != 0)?;
    Some(Published { address, number, protocol: protocol.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_ports_are_read_and_ranges_are_left_out() {
        let port = |address: &str, number, protocol: &str| {
            Some(Published { address: address.parse().unwrap(), number, protocol: protocol.into() })
        };
        assert_eq!(parse("8080:80/tcp"), port("0.0.0.0", 8080, "tcp"));
        assert_eq!(parse("127.0.0.1:53:53/udp"), port("127.0.0.1", 53, "udp"));
        assert_eq!(parse("::1:8080:80/tcp"), port("::1", 8080, "tcp"));
        assert_eq!(parse("8000-8010:80/tcp"), None);
        assert_eq!(parse(":80/tcp"), None);
    }

    #[test]
    fn a_port_somebody_listens_on_cannot_be_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Published { address: address.ip(), number: address.port(), protocol: "tcp".into() };
        assert!(taken.try_bind().is_err());
        drop(listener);
        taken.try_bind().unwrap();
    }
}
