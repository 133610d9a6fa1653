//! Carries the service's webhooks out. Addresses come from strangers, so none leads into this machine or its
//! network: a name is resolved once, every address it stands for is checked, and the connection goes to
//! those and no others. Redirects are not followed, and proxies are not asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::Result;
use plumbline_service::webhooks::{Courier, Notice};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::runtime::Runtime;

/// Longest time for one notice, from connecting to the answer's head.
const LIMIT: Duration = Duration::from_secs(10);

/// Posts notices over HTTP.
#[derive(Debug)]
pub struct HttpCourier {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    /// Also into private networks, and without TLS: for receivers beside the service.
    allow_private: bool,
}

impl HttpCourier {
    /// A courier with a thread of its own.
    pub fn new(allow_private: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("courier")
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            allow_private,
        })
    }

    /// The address and what its host stands for, all of it allowed.
    fn resolve(&self, text: &str) -> Result<(Url, Vec<SocketAddr>), String> {
        let url = Url::parse(text).map_err(|_| "url is no address".to_owned())?;
        let scheme = url.scheme();
        if scheme != "https" && !(scheme == "http" && self.allow_private) {
            return Err("url must begin with https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("url must not hold a name or a password".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<SocketAddr> = (bare, port)
            .to_socket_addrs()
            .map_err(|_| format!("{bare} stands for no address"))?
            .collect();
        if found.is_empty() {
            return Err(format!("{bare} stands for no address"));
        }
        for address in &found {
            // The address itself is not told: who asks learns nothing of the names of this network.
            if !self.allow_private && !is_public(address.ip()) {
                return Err(format!("{bare} leads to an address that is not public"));
            }
        }
        Ok((url, found))
    }
}

impl Drop for HttpCourier {
    fn drop(&mut self) {
        // The last owner may be a worker of the web server, which must not wait for another runtime to end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Courier for HttpCourier {
    fn check(&self, url: &str) -> Result<(), String> {
        self.resolve(url).map(|_| ())
    }

    fn post(&self, notice: &Notice) -> Result<u16, String> {
        let (url, addresses) = self.resolve(&notice.url)?;
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(LIMIT)
            .resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses)
            .user_agent(concat!("plumbline/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        let mut request = client
            .post(url)
            .header("content-type", "application/json")
            .body(notice.body.clone());
        for (name, value) in &notice.headers {
            request = request.header(*name, value);
        }
        // The body of the answer is nobody's concern, and is not read.
        // Inside the runtime: its time limit needs the runtime's clock from the first moment.
        let runtime = self.runtime.as_ref().ok_or("the courier has ended")?;
        let answer = runtime.block_on(async { request.send().await });
        answer
            .map(|answer| answer.status().as_u16())
            .map_err(|error| error.without_url().to_string())
    }
}

/// Whether an address belongs to the public internet; false for every block that does not, and for
/// IPv6 addresses that stand for IPv4 ones that do not.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // "This network", private, loopback, multicast and what is reserved above it.
        (0 | 10 | 127 | 224.., _, _) => true,
        // Shared between carriers and customers.
        (100, 64..=127, _) => true,
        // Link-local: also where clouds keep their metadata.
        (169, 254, _) => true,
        (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) => true,
        (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let last = |at: usize| {
        let [a, b] = parts[at].to_be_bytes();
        let [c, d] = parts[at + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match parts {
        // Mapped and translated IPv4 addresses, and 6to4.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(last(6)),
        [0x2002, ..] => is_public_v4(last(1)),
        // Protocol assignments (Teredo among them) and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Only this eighth is given out to the public internet.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn a_courier_may_end_where_nothing_may_wait() {
        let outer = tokio::runtime::Runtime::new().unwrap();
        outer.block_on(async { drop(HttpCourier::new(true).unwrap()) });
    }

    #[test]
    fn only_public_addresses_are_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "2a00::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_of_this_network_are_refused_however_they_are_written() {
        let courier = HttpCourier::new(false).unwrap();
        for url in [
            "https://169.254.169.254/latest/meta-data/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://017700000001/",
            "https://localhost/",
            "https://localhost./",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://1.1.1.1@127.0.0.1/",
            "https://name:secret@1.1.1.1/",
            "http://1.1.1.1/",
            "ftp://1.1.1.1/",
            "file:///etc/passwd",
            "https://",
            "nonsense",
        ] {
            assert!(courier.check(url).is_err(), "{url}");
        }
        assert_eq!(courier.check("https://1.1.1.1/x"), Ok(()));
    }

    fn notice(url: String) -> Notice {
        Notice {
            url,
            headers: [
                ("webhook-id", "msg_1".to_owned()),
                ("webhook-timestamp", "1".to_owned()),
                ("webhook-signature", "v1,x".to_owned()),
            ],
            body: "{\"a\":1}".to_owned(),
        }
    }

    #[test]
    fn a_notice_arrives_and_a_redirect_is_not_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let answers = [
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            format!("HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n"),
        ];
        let receiver = std::thread::spawn(move || {
            answers.map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = Vec::new();
                while !text.ends_with(b"{\"a\":1}") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    text.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(text).unwrap()
            })
        });
        let open = HttpCourier::new(true).unwrap();
        assert_eq!(open.post(&notice(url.clone())), Ok(204));
        assert_eq!(open.post(&notice(url.clone())), Ok(302));
        let [first, _] = receiver.join().unwrap();
        assert!(first.starts_with("POST /hook HTTP/1.1"), "{first}");
        assert!(first.contains("webhook-signature: v1,x"), "{first}");
        // The same address, by whom private ones are not allowed.
        let closed = HttpCourier::new(false).unwrap();
        let refused = closed
            .post(&notice(url.replace("http:", "https:")))
            .unwrap_err();
        assert!(refused.contains("not public"), "{refused}");
    }
}
