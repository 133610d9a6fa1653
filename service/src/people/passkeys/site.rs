//! Where passkeys are good: for one host, and pages of one origin.

use std::net::Ipv4Addr;

use webauthn_rp::request::{AsciiDomain, RpId};

/// What browsers bind a passkey to.
#[derive(Debug)]
pub(super) struct Site {
    /// The host.
    pub(super) rp_id: RpId,
    /// Scheme, host and port of the pages.
    pub(super) origin: String,
}

impl Site {
    /// The site behind the address at which people reach the service.
    ///
    /// # Errors
    /// Why passkeys cannot be used there, for people.
    pub(super) fn of(public_url: &str) -> Result<Self, String> {
        let Some((scheme, authority)) = public_url.split_once("://") else {
            return Err(refusal("it is no address", public_url));
        };
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        if authority.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
            return Err(refusal("that is no host name", public_url));
        }
        let local = host == "localhost" || host.ends_with(".localhost");
        if scheme != "https" && !local {
            return Err(refusal("that is not https", public_url));
        }
        let rp_id = AsciiDomain::try_from(host.to_owned())
            .map_err(|_| refusal("that is no host name", public_url))?;
        if !host.is_ascii() || rp_id.as_ref() != host {
            return Err(refusal("its host is not in lower case", public_url));
        }
        Ok(Self {
            rp_id: RpId::Domain(rp_id),
            origin: public_url.to_owned(),
        })
    }
}

fn refusal(why: &str, public_url: &str) -> String {
    format!(
        "Browsers allow passkeys only on pages over https at a host name, or at localhost. This service is reached \
         at {public_url}, and {why}. Its operator says another address with --public-url."
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passkeys_need_https_at_a_host_name_or_this_machine() {
        for (url, host) in [
            ("https://plumbline.example.org", "plumbline.example.org"),
            (
                "https://plumbline.example.org:8443",
                "plumbline.example.org",
            ),
            ("http://localhost:8600", "localhost"),
            ("http://lab.localhost", "lab.localhost"),
        ] {
            let site = Site::of(url).unwrap();
            assert_eq!((site.rp_id.as_ref(), site.origin.as_str()), (host, url));
        }
        for (url, why) in [
            ("http://127.0.0.1:8600", "no host name"),
            ("https://192.0.2.7", "no host name"),
            ("https://[::1]:8600", "no host name"),
            ("http://plumbline.example.org", "not https"),
            ("http://notlocalhost", "not https"),
            ("https://", "no host name"),
            ("https://Plumbline.example.org", "lower case"),
            ("plumbline.example.org", "no address"),
        ] {
            let refused = Site::of(url).unwrap_err();
            assert!(
                refused.contains(why) && refused.contains("--public-url"),
                "{refused}"
            );
        }
    }
}
