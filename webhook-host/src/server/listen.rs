//! The listening sockets of a host. Used by `cli`.

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Connections that wait to be accepted. With the standard library's 128, the kernel drops
/// connections in a burst, and their clients retry after a second. The kernel caps it at
/// `net.core.somaxconn`, 4,096 by default.
const BACKLOG: i32 = 1024;

/// Listens on an address with a non-blocking socket. `[::]` takes IPv4 connections, too, and on a
/// kernel without IPv6 these alone, so that one address does for every cluster.
///
/// # Errors
///
/// Fails when the address is in use, or is not this machine's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listening = match socket(address) {
        Ok(listening) => listening,
        Err(error) => match without_ipv6(address, &error) {
            Some(address) => socket(address)?,
            None => return Err(error),
        },
    };
    Ok(listening.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Without it, connections of a process that has just ended would block the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // The kernel's default may differ (net.ipv6.bindv6only).
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns the IPv4 address in place of `[::]` if the kernel has no IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let lacks_ipv6 = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    (lacks_ipv6 && is_any).then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpStream};

    #[test]
    fn one_address_does_for_both_families() {
        let listener = listen("[::]:0".parse().expect("an address")).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4");
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("IPv6");
    }

    #[test]
    fn only_the_unspecified_address_has_a_substitute_without_ipv6() {
        let substitute = |address: &str, code| {
            let address = address.parse().expect("an address");
            without_ipv6(address, &io::Error::from_raw_os_error(code)).map(|it| it.to_string())
        };
        let lacking = libc::EAFNOSUPPORT;
        assert_eq!(
            substitute("[::]:8443", lacking).as_deref(),
            Some("0.0.0.0:8443")
        );
        assert_eq!(substitute("[::1]:8443", lacking), None);
        assert_eq!(substitute("0.0.0.0:8443", lacking), None);
        assert_eq!(substitute("[::]:8443", libc::EADDRINUSE), None);
    }
}
