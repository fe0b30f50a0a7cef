//! The service manager that started us, if it wants to be told how we are: sd_notify(3).

use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;

/// Where a service manager listens, and how often it wants to hear from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisor {
    /// Its socket.
    pub socket: NotifySocket,
    /// Without a word for this long, we are taken for dead. `None`: nobody watches.
    pub watchdog: Option<Duration>,
}

/// An address of a Unix datagram socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifySocket {
    /// A file.
    File(PathBuf),
    /// A name in the abstract namespace, without its leading zero.
    Abstract(String),
}

impl Supervisor {
    /// What `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say to the process `pid`; `None`
    /// if nobody listens. Addresses of virtual machines (`vsock:`) are not for services.
    #[must_use]
    pub fn find(env: &dyn Environment, pid: u32) -> Option<Self> {
        let socket = env.get("NOTIFY_SOCKET")?;
        let socket = match (socket.strip_prefix('@'), socket.starts_with('/')) {
            (Some(name), _) => NotifySocket::Abstract(name.to_owned()),
            (None, true) => NotifySocket::File(socket.into()),
            (None, false) => return None,
        };
        let ours = env
            .get("WATCHDOG_PID")
            .is_none_or(|watched| watched == pid.to_string());
        let watchdog = env.get("WATCHDOG_USEC").filter(|_| ours);
        let watchdog = watchdog.and_then(|text| text.parse().ok());
        Some(Self {
            socket,
            watchdog: watchdog.filter(|span| *span > 0).map(Duration::from_micros),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MapEnvironment;

    fn find(variables: &[(&str, &str)]) -> Option<Supervisor> {
        let env = variables
            .iter()
            .fold(MapEnvironment::default(), |env, (name, value)| {
                env.with(name, value)
            });
        Supervisor::find(&env, 7)
    }

    #[test]
    fn both_kinds_of_sockets_are_known() {
        let file = find(&[("NOTIFY_SOCKET", "/run/systemd/notify")]).unwrap();
        assert_eq!(
            file.socket,
            NotifySocket::File("/run/systemd/notify".into())
        );
        assert_eq!(file.watchdog, None);
        let named = find(&[("NOTIFY_SOCKET", "@name")]).unwrap();
        assert_eq!(named.socket, NotifySocket::Abstract("name".to_owned()));
        assert_eq!(find(&[("NOTIFY_SOCKET", "vsock:2:1")]), None);
        assert_eq!(find(&[("NOTIFY_SOCKET", "")]), None);
        assert_eq!(find(&[("WATCHDOG_USEC", "1000")]), None);
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let watchdog = |more: &[(&str, &str)]| {
            let socket = ("NOTIFY_SOCKET", "/run/notify");
            find(&[&[socket], more].concat()).unwrap().watchdog
        };
        let second = ("WATCHDOG_USEC", "1000000");
        assert_eq!(watchdog(&[second]), Some(Duration::from_secs(1)));
        let ours = ("WATCHDOG_PID", "7");
        assert_eq!(watchdog(&[second, ours]), Some(Duration::from_secs(1)));
        assert_eq!(watchdog(&[second, ("WATCHDOG_PID", "8")]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "soon")]), None);
    }
}
