//! A way out of a network namespace: a port in there that leads to one of the machine's loopback address.
//!
//! A socket belongs to the namespace of the thread that makes it, whoever uses it later. So no address of the machine is opened for it, and
//! nothing has to be routed.

use std::fs::File;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsFd;
use std::{io, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The door. It is closed when it is dropped, with all connections.
pub struct Door {
    task: JoinHandle<()>,
}

impl Door {
    /// Opens one at an address in the network namespace of a process, to a port of the loopback address here.
    pub fn open(process: u32, inside: SocketAddr, port: u16) -> io::Result<Self> {
        let listener = listen(process, inside)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { task })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(process: u32, inside: SocketAddr) -> io::Result<StdTcpListener> {
    let namespace = File::open(format!("/proc/{process}/ns/net"))?;
    // The thread goes there for good, so it is one that has nothing else to do.
    let thread = thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        StdTcpListener::bind(inside)
    });
    thread.join().expect("a thread that does not panic")
}
