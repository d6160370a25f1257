//! Which addresses may be dialled (R7): public ones, and exactly those the operator allows.
//!
//! IPv4: everything but the IANA special-purpose registry (RFC 6890 and later entries) and two metadata addresses that
//! stand in public space. IPv6: only 2000::/3, without the ranges that embed an IPv4 address or serve no host. NAT64
//! and mapped addresses lie outside 2000::/3 and so are refused whatever they embed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::EgressError;

/// An address that is not public, and its class in words; None for a public one.
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

/// Network, prefix length, class.
const V4: [([u8; 4], u32, &str); 22] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared (carrier NAT)"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([168, 63, 129, 16], 32, "cloud metadata"),
    ([169, 254, 0, 0], 16, "link-local or cloud metadata"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 31, 196, 0], 24, "AS112"),
    ([192, 52, 193, 0], 24, "AMT"),
    ([192, 88, 99, 0], 24, "6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([192, 175, 48, 0], 24, "AS112"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved or broadcast"),
    // Inside 100.64.0.0/10, named so that the list says what it protects.
    ([100, 100, 100, 200], 32, "cloud metadata"),
    ([192, 0, 0, 192], 32, "cloud metadata"),
    ([233, 252, 0, 0], 24, "documentation"),
];

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    V4.iter()
        .find(|(network, length, _)| (bits ^ u32::from(Ipv4Addr::from(*network))) >> (32 - length) == 0)
        .map(|(_, _, class)| *class)
}

const V6: [(u128, u32, &str); 5] = [
    (0x2001_0000 << 96, 23, "protocol assignments or Teredo"),
    (0x2001_0db8 << 96, 32, "documentation"),
    (0x2002 << 112, 16, "6to4"),
    (0x2620_004f_8000 << 80, 48, "AS112"),
    (0x3fff << 112, 20, "documentation"),
];

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let bits = u128::from(address);
    if bits >> 125 != 0b001 {
        return Some(match address.octets() {
            _ if address.is_loopback() => "loopback",
            [0xfe, second, ..] if second & 0xc0 == 0x80 => "link-local",
            [first, ..] if first & 0xfe == 0xfc => "private",
            [0xff, ..] => "multicast",
            _ if address.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6 clothes",
            _ if bits >> 96 == 0x0064_ff9b || bits >> 80 == 0x0064_ff9b_0001 => "NAT64",
            _ => "outside 2000::/3",
        });
    }
    // ISATAP (RFC 5214 section 6.1): the interface identifier is 0000:5efe or 0200:5efe and an IPv4 address.
    if matches!((bits >> 32) as u32 & !0x0300_0000, 0x0000_5efe) {
        return Some("ISATAP");
    }
    V6.iter().find(|(network, length, _)| (bits ^ network) >> (128 - length) == 0).map(|(_, _, class)| *class)
}

/// One address for one host: public, or allowed as it stands.
pub(super) fn judge(host: &str, address: SocketAddr, plain_http: bool, allow: &[SocketAddr]) -> Result<(), Refused> {
    if allow.iter().any(|allowed| allowed.ip() == address.ip() && allowed.port() == address.port()) {
        return Ok(());
    }
    match special(address.ip()) {
        Some(class) => Err(Refused::new(host, format!("{} is no public address ({class})", address.ip()), address)),
        None if plain_http => Err(Refused::new(host, "plain http would show the request on the way", address)),
        None => Ok(()),
    }
}

/// All of a name's addresses, or none: a mixed answer is an attack or a mistake.
pub(super) fn judge_all(
    host: &str,
    addresses: &[SocketAddr],
    plain_http: bool,
    allow: &[SocketAddr],
) -> Result<(), Refused> {
    addresses.iter().try_for_each(|address| judge(host, *address, plain_http, allow))
}

/// An address that may not be dialled.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host} is refused: {reason}")]
pub(super) struct Refused {
    host: String,
    reason: String,
    address: SocketAddr,
}

impl Refused {
    fn new(host: &str, reason: impl Into<String>, address: SocketAddr) -> Self {
        Self { host: host.to_owned(), reason: reason.into(), address }
    }
}

impl From<Refused> for EgressError {
    fn from(refused: Refused) -> Self {
        Self::denied(
            "address",
            refused.to_string(),
            format!("if it is meant, the operator writes `[egress] allow = [\"{}\"]` in deputy.toml", refused.address),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r7_special_addresses_are_refused() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.31.196.1",
            "192.52.193.1",
            "192.88.99.1",
            "192.168.1.1",
            "192.175.48.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:1::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "2620:4f:8000::1",
            "2a00:1450::5efe:7f00:1",
            "2a00:1450:1:2:200:5efe:7f00:1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(special(text.parse().unwrap()).is_some(), "{text}");
        }
    }

    #[test]
    fn r7_public_addresses_pass() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001:80b::200e",
        ] {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn an_allowed_address_is_one_port_of_one_address() {
        let allow: Vec<SocketAddr> = vec!["127.0.0.1:3910".parse().unwrap()];
        let judge = |text: &str, http| judge("h", text.parse().unwrap(), http, &allow).is_ok();
        assert!(judge("127.0.0.1:3910", true));
        assert!(judge("127.0.0.1:3910", false));
        assert!(!judge("127.0.0.1:3911", false));
        assert!(!judge("127.0.0.2:3910", false));
        assert!(!judge("[::1]:3910", false));
        assert!(!judge("[::ffff:127.0.0.1]:3910", false));
        assert!(judge("1.1.1.1:443", false));
        assert!(!judge("1.1.1.1:80", true), "plain http only where the operator allows it");
    }

    #[test]
    fn one_bad_address_spoils_the_answer_and_the_fix_names_it() {
        let addresses: Vec<SocketAddr> = vec!["1.1.1.1:443".parse().unwrap(), "[::1]:443".parse().unwrap()];
        let error: EgressError = judge_all("rebind.test", &addresses, false, &[]).unwrap_err().into();
        assert!(error.fix().unwrap().contains("[egress] allow = [\"[::1]:443\"]"), "{:?}", error.fix());
    }

    proptest! {
        /// Whatever IPv4 address is embedded: no IPv6 form of it is dialled.
        #[test]
        fn r7_embedded_v4_is_never_public(v4: u32) {
            let v4 = u128::from(v4);
            for bits in [v4, 0xffff << 32 | v4, 0x0064_ff9b << 96 | v4, 0x2002 << 112 | v4 << 80,
                         0x2001_0000 << 96 | v4, 0x2a00 << 112 | 0x0000_5efe << 32 | v4] {
                prop_assert!(special(IpAddr::V6(Ipv6Addr::from(bits))).is_some());
            }
        }
    }
}
