//! Whitelists (CONTRACT.md, section 1): single addresses and CIDR blocks, compared bit by bit.

use super::cases;
use crate::model::Whitelist;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block: the leading bits that count, and how many bits an address of its family has.
#[derive(Clone, Copy, Debug)]
struct Block {
    bits: u128,
    length: u32,
    width: u32,
}

impl Block {
    fn address(self) -> IpAddr {
        address(self.bits, self.width)
    }

    /// As operators write it: a single address may go without its length, and an IPv4 one may be written as IPv6.
    fn text(self, style: u8) -> String {
        match (self.length == self.width, self.address(), style % 3) {
            (true, IpAddr::V4(v4), 1) => v4.to_ipv6_mapped().to_string(),
            (true, IpAddr::V4(v4), 2) => format!(" {}/128", v4.to_ipv6_mapped()),
            (true, address, 0 | 1) => format!("{address}\t"),
            (_, address, _) => format!("{address}/{}", self.length),
        }
    }

    fn covers(self, address: IpAddr) -> bool {
        let (bits, width) = bits(address);
        width == self.width && (0..self.length).all(|bit| (bits ^ self.bits) >> (width - 1 - bit) & 1 == 0)
    }
}

fn address(bits: u128, width: u32) -> IpAddr {
    if width == 32 { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() }
}

/// Bits of an address; an IPv4 address that is written as IPv6 is the IPv4 address.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (v4.to_bits().into(), 32),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or((v6.to_bits(), 128), |v4| (v4.to_bits().into(), 32)),
    }
}

/// Not those that are IPv4 addresses: a block of such is none, which is tried apart.
fn block() -> impl Strategy<Value = Block> {
    let v4 =
        (any::<u32>(), 0..=32u32).prop_map(|(bits, length)| Block { bits: bits.into(), length, width: 32 });
    let v6 = (any::<u128>(), 0..=128u32).prop_map(|(bits, length)| Block { bits, length, width: 128 });
    let near = (any::<u32>(), 80..=128u32).prop_map(|(low, length)| Block {
        bits: 0xfffe << 32 | u128::from(low),
        length,
        width: 128,
    });
    prop_oneof![3 => v4, 3 => v6, 1 => near]
        .prop_filter("an IPv4 address", |block| bits(block.address()).1 == block.width)
}

/// A block, how it is written, and an address that differs from the block's in at most two bits.
fn entry() -> impl Strategy<Value = (Block, u8, IpAddr)> {
    (block(), any::<u8>(), 0..140u32, 0..140u32).prop_map(|(block, style, one, other)| {
        let flip = |bit: u32| if bit < block.width { 1u128 << (block.width - 1 - bit) } else { 0 };
        (block, style, address(block.bits ^ flip(one) ^ flip(other), block.width))
    })
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_whitelist_holds_what_its_bits_say(
        entries in proptest::collection::vec(entry(), 1..6),
        strange in any::<u128>(),
    ) {
        let texts: Vec<String> = entries.iter().map(|(block, style, _)| block.text(*style)).collect();
        let list = Whitelist::parse(&texts).expect("a whitelist");
        let mapped = Ipv4Addr::from_bits(strange as u32).to_ipv6_mapped();
        let near = entries.iter().map(|(_, _, address)| *address);
        for address in near.chain([address(strange, 32), address(strange, 128), mapped.into()]) {
            let expected = entries.iter().any(|(block, ..)| block.covers(address));
            prop_assert_eq!(list.allows(Some(address)), expected, "{:?} {}", texts, address);
            if let IpAddr::V4(v4) = address {
                prop_assert_eq!(list.allows(Some(v4.to_ipv6_mapped().into())), expected);
            }
        }
        prop_assert!(!list.allows(None));
        // It is stored and shown by its entries.
        let again = Whitelist::parse(list.entries());
        prop_assert_eq!(again.as_ref(), Ok(&list));
    }

    #[test]
    fn what_is_no_address_and_no_block_is_refused(
        block in block(), length in 0..400u32, zeros in 0..3usize, octet in 0..4usize,
    ) {
        let address = block.address();
        let accepted = length <= block.width && zeros == 0;
        let text = format!("{address}/{}{length}", "0".repeat(zeros));
        prop_assert_eq!(Whitelist::parse([&text]).is_ok(), accepted, "{}", text);
        for text in [
            format!("{address}/-{length}"), format!("{address}/+{length}"), format!("{address}/"),
            format!("{address}/{length}/"), format!("{address} /{length}"), format!("[{address}]"),
        ] {
            prop_assert!(Whitelist::parse([&text]).is_err(), "{}", text);
        }
        if let IpAddr::V4(v4) = address {
            // Octets with leading zeros are octal to some and decimal to others.
            let octets = v4.octets();
            let padded: Vec<String> = (0..4)
                .map(|at| if at == octet { format!("0{}", octets[at]) } else { octets[at].to_string() })
                .collect();
            for text in [padded.join("."), format!("{}/{}", padded.join("."), length % 33)] {
                prop_assert!(Whitelist::parse([&text]).is_err(), "{}", text);
            }
            // A block of IPv4 addresses as IPv6 would not hold what it says.
            let text = format!("{}/{}", v4.to_ipv6_mapped(), length % 128);
            prop_assert!(Whitelist::parse([&text]).is_err(), "{}", text);
        }
    }
}
