//! What stands in a mail: the same as text and as HTML, everything that people wrote escaped.

use plumbline_store::mails::Address;
use plumbline_store::notices::Notice;

use super::addresses::signed_link;
use super::mailing::Letter;

/// The mail with the code that proves an address.
pub(super) fn code_letter(row: &Address, code: &str, public_url: &str) -> Letter {
    let text = format!(
        "Your code is {code}\n\nSomebody gave this address for notifications of the service at {public_url}.\n\
         Enter the code there within half an hour. If it was not you, do nothing: no other mail comes.\n"
    );
    let html = format!(
        "<p>Your code is <strong>{code}</strong></p><p>Somebody gave this address for notifications of the service at \
         {url}. Enter the code there within half an hour. If it was not you, do nothing: no other mail comes.</p>",
        url = escape(public_url)
    );
    Letter {
        to: row.address.clone(),
        subject: format!("Plumbline: your code is {code}"),
        text,
        html,
        id: format!("code-{}-{}", row.account_id, row.coded_at),
        unsubscribe: None,
    }
}

/// One mail with the notices of an account.
pub(super) fn notices_letter(row: &Address, notices: &[Notice], public_url: &str) -> Letter {
    let link = format!(
        "{public_url}/notifications/unsubscribe/{}",
        signed_link(row)
    );
    let mut text = String::new();
    let mut html = String::from("<ul>");
    for notice in notices {
        let page = format!("{public_url}{}", notice.link);
        text.push_str(&format!(
            "{}\n  {}\n  {page}\n\n",
            notice.title, notice.body
        ));
        html.push_str(&format!(
            "<li><a href=\"{}\">{}</a><br>{}</li>",
            escape(&page),
            escape(&notice.title),
            escape(&notice.body)
        ));
    }
    text.push_str(&format!(
        "--\nWhat is mailed is chosen at {public_url}/notifications\nNo more mail: {link}\n"
    ));
    html.push_str(&format!(
        "</ul><p><small><a href=\"{}\">Choose what is mailed</a> · <a href=\"{}\">No more mail</a></small></p>",
        escape(&format!("{public_url}/notifications")),
        escape(&link)
    ));
    let subject = match notices {
        [one] => format!("Plumbline: {}", one.title),
        more => format!("Plumbline: {} notifications", more.len()),
    };
    let last = notices.last().map_or(0, |notice| notice.seq);
    Letter {
        to: row.address.clone(),
        subject,
        text,
        html,
        // The same for every attempt, so that a mailbox knows a repetition.
        id: format!("notices-{}-{last}", row.account_id),
        unsubscribe: Some(link),
    }
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_escaped() {
        let row = Address {
            account_id: "a".to_owned(),
            address: "ada@example.org".to_owned(),
            pace: "once".to_owned(),
            verified_at: Some(1),
            code: None,
            code_until: 0,
            guesses: 0,
            coded_at: 0,
            unsubscribe_key: vec![1; 32],
        };
        let notice = Notice {
            seq: 9,
            account_id: "a".to_owned(),
            source: "event:1".to_owned(),
            kind: "evidence".to_owned(),
            title: "<img src=x onerror=\"alert('1')\"> & more".to_owned(),
            body: "<b>".to_owned(),
            link: "/markets/m".to_owned(),
            at: 1,
            listed: true,
            read_at: None,
        };
        let letter = notices_letter(&row, &[notice], "https://p.example");
        assert!(!letter.html.contains("<img") && !letter.html.contains("<b>"));
        assert!(
            letter
                .html
                .contains("&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt; &amp; more")
        );
        assert!(letter.text.contains("https://p.example/markets/m"));
        assert_eq!(letter.id, "notices-a-9");
        assert!(letter.unsubscribe.is_some_and(|link| {
            link.starts_with("https://p.example/notifications/unsubscribe/a.")
        }));
    }
}
