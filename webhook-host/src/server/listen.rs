//! The sockets that a host listens on.

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that wait to be accepted. With the standard library's 128, a crowd makes the kernel
/// drop what comes on top, and its clients wait for a second before they try again. The kernel
/// takes no more than `net.core.somaxconn`, which is 4,096.
const BACKLOG: i32 = 1024;

/// Listens on an address; the socket is ready for a runtime.
///
/// # Errors
///
/// When the address is taken, or not this machine's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of a host that has just ended don't keep the next one from the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
