//! Sends the service's mail over SMTP. The server and the sender are the operator's; whom it goes to and what it says
//! come from strangers, so nothing of either gets into a header or a command but as it was meant.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::{Address, Message, SmtpTransport, Transport};
use plumbline_service::notices::{Letter, PostError, Postman};
use reqwest::Url;

/// Longest time for one step with the server.
const LIMIT: Duration = Duration::from_secs(10);

/// Mail, where the service sends any.
#[derive(Debug, Args)]
pub struct Mail {
    /// Server that takes notifications as mail: smtps://NAME:PASSWORD@HOST, or smtp://HOST:PORT?tls=required
    #[arg(
        long,
        value_name = "URL",
        env = "PLUMBLINE_SMTP_URL",
        hide_env_values = true
    )]
    smtp_url: Option<String>,
    /// File that holds the address of the mail server instead, so that its password is in no environment
    #[arg(long, value_name = "FILE", conflicts_with = "smtp_url")]
    smtp_url_file: Option<PathBuf>,
    /// Sender of mail, such as "Plumbline <noreply@example.org>"
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PLUMBLINE_MAIL_FROM",
        default_value = "Plumbline <plumbline@localhost>"
    )]
    mail_from: String,
    /// Where people reach the service, for links in mail and for passkeys, which need https or localhost; the address
    /// listened on by default
    #[arg(long, value_name = "URL", env = "PLUMBLINE_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<String>,
}

/// Scheme, host and port, without a slash at the end.
fn public_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let origin = url.origin().ascii_serialization();
    if matches!(url.scheme(), "http" | "https") && text.trim_end_matches('/') == origin {
        return Ok(origin);
    }
    Err("say scheme, host and port, such as https://plumbline.example.org".to_owned())
}

impl Mail {
    /// Whoever sends the mail, where a server is named.
    pub fn postman(&self) -> Result<Option<SmtpPostman>> {
        let url = match (&self.smtp_url, &self.smtp_url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
            (None, None) => return Ok(None),
        };
        SmtpPostman::new(url.trim(), &self.mail_from).map(Some)
    }

    /// Where links in mail lead.
    pub fn public_url(&self, listen: SocketAddr) -> String {
        let own = || format!("http://{listen}");
        self.public_url.clone().unwrap_or_else(own)
    }
}

/// Sends mail through one server.
#[derive(Debug)]
pub struct SmtpPostman {
    transport: SmtpTransport,
    from: Mailbox,
}

impl SmtpPostman {
    /// A postman for a server and a sender. Passwords go over TLS, or nowhere but to this machine.
    pub fn new(url: &str, from: &str) -> Result<Self> {
        // What is wrong is told without the address, which may hold a password.
        let Ok(parsed) = Url::parse(url) else {
            bail!("the address of the mail server is none");
        };
        let local = parsed.host_str().is_some_and(is_this_machine);
        let tls = parsed.scheme() == "smtps"
            || parsed
                .query_pairs()
                .any(|(name, value)| name == "tls" && value == "required");
        if !tls && !local {
            bail!("mail goes to another machine over TLS only: use smtps:// or add ?tls=required");
        }
        let builder = SmtpTransport::from_url(url)
            .map_err(|_| anyhow::anyhow!("the address of the mail server is none"))?;
        let from = from
            .parse()
            .with_context(|| format!("{from} is no sender"))?;
        Ok(Self {
            transport: builder.timeout(Some(LIMIT)).build(),
            from,
        })
    }

    fn message(&self, letter: &Letter) -> Result<Message> {
        let to: Address = letter.to.parse()?;
        let subject = letter.subject.replace(char::is_control, " ");
        let id = format!("<{}@{}>", letter.id, self.from.email.domain());
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(id))
            .multipart(MultiPart::alternative_plain_html(
                letter.text.clone(),
                letter.html.clone(),
            ))?;
        // Nobody's absence needs to be told of.
        let mut headers = vec![("Auto-Submitted", "auto-generated".to_owned())];
        if let Some(link) = &letter.unsubscribe {
            headers.push(("List-Unsubscribe", format!("<{link}>")));
            headers.push((
                "List-Unsubscribe-Post",
                "List-Unsubscribe=One-Click".to_owned(),
            ));
        }
        for (name, value) in headers {
            let name = HeaderName::new_from_ascii_str(name);
            message
                .headers_mut()
                .insert_raw(HeaderValue::new(name, value));
        }
        Ok(message)
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Postman for SmtpPostman {
    fn send(&self, letter: &Letter) -> Result<(), PostError> {
        let message = self.message(letter).map_err(|error| PostError {
            permanent: true,
            why: error.to_string(),
        })?;
        let sent = self.transport.send(&message);
        sent.map(drop).map_err(|error: SmtpError| PostError {
            permanent: error.is_permanent(),
            why: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    /// Takes one mail as a server does; what it was sent. `refusal` is answered to the recipient instead.
    fn take_one(listener: &TcpListener, refusal: Option<&str>) -> String {
        let (stream, _) = listener.accept().unwrap();
        let mut answers: TcpStream = stream.try_clone().unwrap();
        let mut say = |text: &str| answers.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        say("220 test");
        let (mut all, mut in_data) = (String::new(), false);
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            all.push_str(&line);
            all.push('\n');
            match (in_data, line.split(' ').next().unwrap()) {
                (true, ".") => {
                    in_data = false;
                    say("250 taken");
                }
                (true, _) => {}
                (false, "EHLO") => say("250 test"),
                (false, "DATA") => {
                    in_data = true;
                    say("354 go on");
                }
                (false, "RCPT") => say(refusal.unwrap_or("250 ok")),
                (false, "QUIT") => {
                    say("221 bye");
                    break;
                }
                (false, _) => say("250 ok"),
            }
        }
        all
    }

    fn letter(to: &str, subject: &str) -> Letter {
        Letter {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: "Grüße.\n.\nA line with one dot alone.\n".to_owned(),
            html: "<p>Gr&uuml;&szlig;e</p>".to_owned(),
            id: "notices-a-9".to_owned(),
            unsubscribe: Some("https://p.example/notifications/unsubscribe/a.b".to_owned()),
        }
    }

    fn postman(listener: &TcpListener) -> SmtpPostman {
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        SmtpPostman::new(&url, "Plumbline <noreply@p.example>").unwrap()
    }

    #[test]
    fn what_arrives_is_one_mail_to_one_address_whatever_its_subject_says() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let postman = postman(&listener);
        let server = std::thread::spawn(move || take_one(&listener, None));
        let hostile = letter(
            "ada@example.org",
            "50 % → 57 %\r\nBcc: eve@example.org\r\n\r\nfree text",
        );
        postman.send(&hostile).unwrap();
        drop(postman);
        let sent = server.join().unwrap();
        assert_eq!(sent.matches("RCPT TO:").count(), 1, "{sent}");
        assert!(sent.contains("RCPT TO:<ada@example.org>"), "{sent}");
        assert!(!sent.lines().any(|line| line.starts_with("Bcc")), "{sent}");
        for line in [
            "List-Unsubscribe: <https://p.example/notifications/unsubscribe/a.b>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            "Message-ID: <notices-a-9@p.example>",
            "Auto-Submitted: auto-generated",
            "From: Plumbline <noreply@p.example>",
            "To: ada@example.org",
        ] {
            assert!(sent.lines().any(|told| told == line), "{line} in {sent}");
        }
        assert!(sent.contains("text/html") && sent.contains("text/plain"));
        // The line with the dot did not end the mail early.
        assert!(sent.contains("alone"), "{sent}");
    }

    #[test]
    fn a_refusal_for_good_is_told_from_one_for_now() {
        for (answer, permanent) in [("550 no such box", true), ("451 later", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let postman = postman(&listener);
            let server = std::thread::spawn(move || take_one(&listener, Some(answer)));
            let refused = postman.send(&letter("ada@example.org", "x")).unwrap_err();
            assert_eq!(refused.permanent, permanent, "{refused:?}");
            drop(postman);
            server.join().unwrap();
        }
        let gone = SmtpPostman::new("smtp://127.0.0.1:1", "a@b.example").unwrap();
        let refused = gone.send(&letter("ada@example.org", "x")).unwrap_err();
        assert!(!refused.permanent);
    }

    #[test]
    fn passwords_leave_this_machine_over_tls_only() {
        for bad in [
            "smtp://name:secret@mail.example.org",
            "smtp://mail.example.org:587",
            "smtp://mail.example.org?tls=opportunistic",
            "nonsense",
        ] {
            let error = SmtpPostman::new(bad, "a@b.example").unwrap_err();
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
        for good in [
            "smtps://name:secret@mail.example.org",
            "smtp://mail.example.org:587?tls=required",
            "smtp://localhost:25",
            "smtp://[::1]:25",
        ] {
            assert!(SmtpPostman::new(good, "a@b.example").is_ok(), "{good}");
        }
        assert!(SmtpPostman::new("smtp://localhost", "no sender").is_err());
        assert_eq!(
            public_url("https://p.example/").unwrap(),
            "https://p.example"
        );
        assert!(public_url("https://p.example/x").is_err());
        assert!(public_url("javascript:alert(1)").is_err());
    }
}
