//! What sorts of things people are told of, and which of them come unasked.

use plumbline_store::notices::Choice;

macro_rules! kinds {
    ($($name:ident = $text:literal, $mailed:literal, $what:literal;)*) => {
        /// A sort of notice.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind { $(#[doc = $what] $name,)* }

        impl Kind {
            /// All of them, in the order in which people choose.
            pub(crate) const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// Its name.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }

            /// What it tells of, for people.
            pub(crate) fn what(self) -> &'static str {
                match self { $(Kind::$name => $what,)* }
            }

            /// Whether it is mailed to whoever gave an address and did not choose.
            fn mailed(self) -> bool {
                match self { $(Kind::$name => $mailed,)* }
            }
        }
    };
}

kinds! {
    Price = "price", false, "A price moved by five points or more since you were last told";
    Evidence = "evidence", false, "Evidence was judged on a market that you follow";
    Challenge = "challenge", true, "Somebody challenged evidence or a settlement";
    Settled = "settled", true, "A market was settled or called off, and what you were paid";
    Market = "market", false, "A market opened on a run that you follow";
    Decision = "decision", true, "The compute of a run that you follow was changed";
    Proposal = "proposal", false, "A proposal opened, moved on or ended";
    Share = "share", true, "A vote gave you a share of revenue, which waits for you to claim it";
    Seat = "seat", true, "You were drawn as a juror, or a deadline of your seat is near";
    Security = "security", true, "Somebody signed in as you, made a token or a passkey, or changed your password";
}

/// A way by which notices come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// The page of notices and the count beside the bell.
    App,
    /// Mail to an address that was verified.
    Mail,
}

impl Channel {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Mail => "mail",
        }
    }
}

impl Kind {
    /// The kind of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// Whether notices of the kind come by that way to whoever did not choose.
    fn unasked(self, channel: Channel) -> bool {
        match channel {
            Channel::App => true,
            Channel::Mail => self.mailed(),
        }
    }

    /// Whether notices of the kind come by that way to whoever made these choices.
    pub(crate) fn wanted(self, chosen: &[Choice], channel: Channel) -> bool {
        let chosen = chosen
            .iter()
            .find(|row| row.kind == self.as_str() && row.channel == channel.as_str());
        chosen.map_or(self.unasked(channel), |row| row.wanted)
    }

    /// Whether it may be turned off: what tells of a stolen account may not.
    pub(crate) fn may_be_off(self, channel: Channel) -> bool {
        self != Self::Security || channel == Channel::Mail
    }
}
