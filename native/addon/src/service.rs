//! The `service` section of src/native.ts: messages to the service manager that started us.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use napi::bindgen_prelude::*;
use napi_derive::napi;

/// Sends `text` as one datagram to the socket at `address`, a path or `@` and an abstract name
/// (sd_notify(3)). Does not wait: what the manager does not take at once is an error.
#[napi]
pub fn notify_service(address: String, text: String) -> Result<()> {
    let send = || -> std::io::Result<()> {
        let to = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(text.as_bytes(), &to)?;
        Ok(())
    };
    send().map_err(|error| Error::from_reason(format!("{address}: {error}")))
}
