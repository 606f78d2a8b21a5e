//! Identifiers: `kind:value`. Some kinds link a person's events together, some only group people.

use std::{cmp::Ordering, fmt};

/// An identifier's text may be this long, in bytes: it stands in index entries.
pub const IDENTIFIER_BYTES_MAX: usize = 512;

/// One event may name this many linking identifiers as one person's: every pair of them is looked at.
pub const IDENTIFIERS_MAX: usize = 256;

/// What kind of identifier it is. Only kinds of this list identify or group anybody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Our number of a customer. Unique: a person has one.
    CustomerNo,
    /// A login. Unique: a person has one.
    UserId,
    /// An e-mail address.
    Email,
    /// A phone number in E.164.
    Phone,
    /// A loyalty or payment card's token.
    Card,
    /// An id in another system: the full kind, `external.crm`.
    External(String),
    /// A device.
    DeviceId,
    /// A visitor who has not said who they are.
    AnonymousId,
    /// A company. Groups.
    Account,
    /// A partner. Groups.
    Partner,
    /// A household. Groups.
    Household,
}

impl Kind {
    /// Reads a kind's name. `None`: a kind that identifies nobody here.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "customer_no" => Self::CustomerNo,
            "user_id" => Self::UserId,
            "email" => Self::Email,
            "phone" => Self::Phone,
            "card" => Self::Card,
            "device_id" => Self::DeviceId,
            "anonymous_id" => Self::AnonymousId,
            "account" => Self::Account,
            "partner" => Self::Partner,
            "household" => Self::Household,
            _ => {
                let system = text.strip_prefix("external.")?;
                let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
                if system.is_empty() || !system.bytes().all(plain) {
                    return None;
                }
                Self::External(text.to_owned())
            }
        })
    }

    /// Its name, as in `kind:value`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::CustomerNo => "customer_no",
            Self::UserId => "user_id",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::External(kind) => kind,
            Self::DeviceId => "device_id",
            Self::AnonymousId => "anonymous_id",
            Self::Account => "account",
            Self::Partner => "partner",
            Self::Household => "household",
        }
    }

    /// Strength: 0 is the strongest. Kinds that only group come last.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::CustomerNo => 0,
            Self::UserId => 1,
            Self::Email => 2,
            Self::Phone => 3,
            Self::Card => 4,
            Self::External(_) => 5,
            Self::DeviceId => 6,
            Self::AnonymousId => 7,
            Self::Account => 8,
            Self::Partner => 9,
            Self::Household => 10,
        }
    }

    /// Whether it says who somebody is; otherwise it only groups people.
    pub const fn links(&self) -> bool {
        self.rank() < 8
    }

    /// Whether one person has at most one value of it.
    pub const fn is_unique(&self) -> bool {
        matches!(self, Self::CustomerNo | Self::UserId)
    }
}

/// An identifier of a known kind with a usable value. Ordered by strength, then kind, then value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identifier {
    kind: Kind,
    value: String,
}

impl Identifier {
    /// Reads `kind:value` in normal form. `None` where it identifies nobody: no known kind, no value, too long, or a
    /// phone or e-mail address that is none (those are kept in the log as they came).
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(':')?;
        let kind = Kind::parse(kind)?;
        let usable = match kind {
            Kind::Phone => is_e164(value),
            Kind::Email => is_email(value),
            _ => !value.is_empty() && value.trim() == value,
        };
        (usable && text.len() <= IDENTIFIER_BYTES_MAX).then(|| Self { kind, value: value.to_owned() })
    }

    /// Its kind.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its value, normalized.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.value)
    }
}

impl Ord for Identifier {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.kind.rank(), self.kind.as_str(), &self.value).cmp(&(other.kind.rank(), other.kind.as_str(), &other.value))
    }
}

impl PartialOrd for Identifier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn is_e164(value: &str) -> bool {
    value
        .strip_prefix('+')
        .is_some_and(|d| (5..=15).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()) && !d.starts_with('0'))
}

fn is_email(value: &str) -> bool {
    value.rsplit_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
        && !value.contains(|c: char| c.is_whitespace() || c.is_control())
        && value == value.to_lowercase()
}

/// How an identifier that a channel sent came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalized {
    /// In normal form.
    Identifier(Identifier),
    /// Not understood: kept as it came, identifies nobody.
    Kept(KeptBecause),
    /// A placeholder such as `null` or a withheld number: dropped.
    Dropped,
}

/// Why an identifier is kept without identifying anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeptBecause {
    /// No `kind:value`.
    #[error("it is not of the form kind:value; it is kept and identifies nobody")]
    NoKind,
    /// A kind that is not in the list.
    #[error("its kind is not one that Rapport knows; it is kept and identifies nobody")]
    UnknownKind,
    /// A phone number that cannot be brought into E.164.
    #[error("it is no phone number in the default region nor in international form; it is kept and identifies nobody")]
    NoPhone,
    /// An address without local part or host.
    #[error("it is no e-mail address; it is kept and identifies nobody")]
    NoEmail,
    /// Longer than [`IDENTIFIER_BYTES_MAX`].
    #[error("it is longer than 512 bytes; it is kept and identifies nobody")]
    TooLong,
}

/// A phone number that does not stand for itself after so many readings is none.
const READINGS_MAX: usize = 3;

/// Brings identifiers into normal form. Cheap to clone is not needed: one a collector.
#[derive(Clone, Debug)]
pub struct Normalizer {
    region: Option<phonenumber::country::Id>,
    placeholders: Vec<String>,
}

/// Values that stand for "nobody". `*` at the end or the beginning matches any text; an entry with a kind is for that
/// kind only. Compared in lower case.
pub const PLACEHOLDERS: &[&str] = &[
    "null",
    "nil",
    "none",
    "undefined",
    "unknown",
    "n/a",
    "na",
    "-",
    "0",
    "anonymous",
    "guest",
    "not_set",
    "(not set)",
    "nan",
    "00000000-0000-0000-0000-000000000000",
    "phone:private",
    "phone:withheld",
    "phone:unavailable",
    "phone:restricted",
    "phone:+266696687",
    "phone:266696687",
    "email:noreply@*",
    "email:no-reply@*",
    "email:no_reply@*",
    "email:donotreply@*",
    "email:do-not-reply@*",
    "email:mailer-daemon@*",
    "email:postmaster@*",
];

/// A default region that is no ISO 3166 country.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no two-letter country code such as DE or US")]
pub struct UnknownRegion(pub String);

impl Normalizer {
    /// `region`: the country whose national phone numbers are understood (`DE`), or empty for international form only.
    /// `placeholders`: further ones beside [`PLACEHOLDERS`], in the same form.
    pub fn new(region: &str, placeholders: &[String]) -> Result<Self, UnknownRegion> {
        let region = match region {
            "" => None,
            text => Some(text.to_uppercase().parse().map_err(|_| UnknownRegion(text.to_owned()))?),
        };
        let own = placeholders.iter().map(|p| p.trim().to_lowercase()).filter(|p| !p.is_empty());
        Ok(Self { region, placeholders: PLACEHOLDERS.iter().map(|p| (*p).to_owned()).chain(own).collect() })
    }

    /// Normalizes one `kind:value` as sent.
    pub fn normalize(&self, text: &str) -> Normalized {
        let Some((kind, value)) = text.split_once(':') else { return Normalized::Kept(KeptBecause::NoKind) };
        let (kind_text, value) = (kind.trim().to_lowercase(), value.trim());
        let Some(kind) = Kind::parse(&kind_text) else { return Normalized::Kept(KeptBecause::UnknownKind) };
        if value.is_empty() || self.is_placeholder(&kind_text, &value.to_lowercase()) {
            return Normalized::Dropped;
        }
        let value = match kind {
            Kind::Email => value.to_lowercase(),
            Kind::Phone => match self.e164(value) {
                Some(number) => number,
                None => return Normalized::Kept(KeptBecause::NoPhone),
            },
            _ => value.to_owned(),
        };
        if kind == Kind::Phone && self.is_placeholder(&kind_text, &value) {
            return Normalized::Dropped;
        }
        let normal = format!("{kind_text}:{value}");
        match Identifier::parse(&normal) {
            Some(identifier) => Normalized::Identifier(identifier),
            None if normal.len() > IDENTIFIER_BYTES_MAX => Normalized::Kept(KeptBecause::TooLong),
            None if kind == Kind::Email => Normalized::Kept(KeptBecause::NoEmail),
            None => Normalized::Kept(KeptBecause::NoPhone),
        }
    }

    /// What the library makes of a text that hardly is a number it may read as yet another one: only a number that
    /// stands for itself is a normal form.
    fn e164(&self, value: &str) -> Option<String> {
        let mut number = self.read_phone(value)?;
        for _ in 0..READINGS_MAX {
            let again = self.read_phone(&number)?;
            if again == number {
                return Some(number);
            }
            number = again;
        }
        None
    }

    fn read_phone(&self, value: &str) -> Option<String> {
        // An international prefix of two zeros is not understood everywhere; ours is.
        let value = match value.strip_prefix("00") {
            Some(rest) if !rest.starts_with('0') => format!("+{rest}"),
            _ => value.to_owned(),
        };
        let number = phonenumber::parse(self.region, &value).ok()?;
        let text = number.format().mode(phonenumber::Mode::E164).to_string();
        is_e164(&text).then_some(text)
    }

    fn is_placeholder(&self, kind: &str, value: &str) -> bool {
        self.placeholders.iter().any(|pattern| {
            let pattern = match pattern.split_once(':') {
                Some((of, rest)) if Kind::parse(of).is_some() => {
                    if of != kind {
                        return false;
                    }
                    rest
                }
                _ => pattern,
            };
            match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
                (Some(end), _) => value.ends_with(end),
                (None, Some(start)) => value.starts_with(start),
                (None, None) => value == pattern,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(text: &str) -> String {
        match Normalizer::new("DE", &["email:*@ours.example".into()]).expect("a region").normalize(text) {
            Normalized::Identifier(i) => i.to_string(),
            Normalized::Kept(why) => format!("{why:?}"),
            Normalized::Dropped => "dropped".into(),
        }
    }

    #[test]
    fn normal_forms() {
        for (sent, expected) in [
            ("email: Ann@Example.COM ", "email:ann@example.com"),
            ("Email:a@b", "email:a@b"),
            ("phone:030 123456", "phone:+4930123456"),
            ("phone:+49 (30) 123-456", "phone:+4930123456"),
            ("phone:0049 30 123456", "phone:+4930123456"),
            ("phone:+1 555 0100 123", "phone:+15550100123"),
            ("customer_no: 00042 ", "customer_no:00042"),
            ("external.crm:A:7", "external.crm:A:7"),
            ("phone:\x00030 123456", "phone:+4930123456"),
            ("phone:tustomer_no: 00042", "NoPhone"),
            ("phone:ring me", "NoPhone"),
            ("phone:anonymous", "dropped"),
            ("phone:withheld", "dropped"),
            ("email:no-reply@shop.example", "dropped"),
            ("email:sales@ours.example", "dropped"),
            ("user_id:NULL", "dropped"),
            ("user_id:00000000-0000-0000-0000-000000000000", "dropped"),
            ("user_id:", "dropped"),
            ("email:nobody", "NoEmail"),
            ("fax:123", "UnknownKind"),
            ("just text", "NoKind"),
            ("external.:x", "UnknownKind"),
        ] {
            assert_eq!(normal(sent), expected, "{sent}");
        }
        assert_eq!(normal(&format!("card:{}", "9".repeat(600))), "TooLong");
        assert!(Normalizer::new("XX", &[]).is_err());
    }

    #[test]
    fn strength_then_value() {
        let mut all: Vec<_> = [
            "anonymous_id:a",
            "phone:+4930123456",
            "email:b@c",
            "email:a@c",
            "external.b:1",
            "external.a:2",
            "user_id:z",
        ]
        .iter()
        .filter_map(|t| Identifier::parse(t))
        .collect();
        all.sort();
        let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "user_id:z",
                "email:a@c",
                "email:b@c",
                "phone:+4930123456",
                "external.a:2",
                "external.b:1",
                "anonymous_id:a"
            ]
        );
    }

    proptest! {
        #[test]
        fn normal_form_is_stable(text in "(email|phone|card|user_id|account):[ -~äÉ]{0,20}") {
            let n = Normalizer::new("DE", &[]).expect("a region");
            if let Normalized::Identifier(i) = n.normalize(&text) {
                prop_assert_eq!(n.normalize(&i.to_string()), Normalized::Identifier(i.clone()));
                prop_assert_eq!(Identifier::parse(&i.to_string()), Some(i));
            }
        }
    }
}
