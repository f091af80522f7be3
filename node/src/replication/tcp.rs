//! TCP, as far as the link needs it: connecting, and bytes both ways. The machine's own, or one that a simulator brings.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes in order, both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> ByteStream for S {}

/// A connection under way.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// How connections over TCP come about.
pub trait Dial: Debug + Send + Sync {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// No such name, or nobody there who answers.
    fn dial<'a>(&'a self, address: &'a str) -> Dialling<'a>;
}

/// The TCP of the machine.
#[derive(Debug, Clone, Copy)]
pub struct MachineTcp;

impl Dial for MachineTcp {
    fn dial<'a>(&'a self, address: &'a str) -> Dialling<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }
}
