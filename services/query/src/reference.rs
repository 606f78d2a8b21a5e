//! `{ref}`: a customer id, any subject id, or `kind:value`. References are personal data: nothing here repeats one in an
//! error or a log line.

use domain::identifier::{Identifier, KeptBecause, Normalized, Normalizer};
use uuid::Uuid;

use crate::problem::{Fault, Kind, Problem};

/// A reference, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A customer id, past or present, or a subject id: customers are named after their earliest subject.
    Id(Uuid),
    /// An identifier in normal form.
    Identifier(Identifier),
}

impl Reference {
    /// Reads a percent-decoded path segment. Identifiers come to the same normal form as on receipt, so that
    /// `phone:030 123456` finds who published `phone:+4930123456`.
    pub(crate) fn parse(text: &str, normalizer: &Normalizer) -> Result<Self, Problem> {
        if let Ok(id) = Uuid::try_parse(text) {
            return Ok(Self::Id(id));
        }
        if text.contains('\0') {
            return Err(bad("a reference holds no U+0000"));
        }
        match normalizer.normalize(text) {
            Normalized::Identifier(identifier) => Ok(Self::Identifier(identifier)),
            Normalized::Dropped => Err(Problem::new(
                Kind::NoSuchCustomer,
                "this identifier is a placeholder that stands for nobody; events never keep it",
            )),
            Normalized::Kept(why) => Err(bad(&explain(why))),
        }
    }
}

/// A reference that cannot be read.
pub(crate) fn bad(detail: &str) -> Problem {
    let fault = Fault { code: "bad_identifier", pointer: "ref".into(), detail: detail.to_owned() };
    Problem::new(Kind::Reference, detail).with_errors(vec![fault])
}

fn explain(why: KeptBecause) -> String {
    match why {
        KeptBecause::NoKind => "a reference is a customer id, a subject id, or kind:value such as email:ann@example.com".into(),
        KeptBecause::UnknownKind => {
            "kinds that name a customer are customer_no, user_id, email, phone, card, external.<system>, device_id and anonymous_id".into()
        }
        KeptBecause::NoPhone => "this is no phone number in the default region nor in international form (+49…)".into(),
        KeptBecause::NoEmail => "this is no e-mail address".into(),
        KeptBecause::TooLong => "an identifier is at most 512 bytes long".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_identifiers_and_neither() {
        let normalizer = Normalizer::new("DE", &[]).expect("a region");
        let parse = |text: &str| Reference::parse(text, &normalizer);
        let id = Uuid::from_u128(7);
        assert_eq!(parse(&id.to_string()).ok(), Some(Reference::Id(id)));
        for (text, normal) in [
            ("email:Ann@Example.com", "email:ann@example.com"),
            ("phone:030 123456", "phone:+4930123456"),
            ("external.crm:a/b", "external.crm:a/b"),
            ("account:acme", "account:acme"),
        ] {
            assert_eq!(parse(text).ok(), Identifier::parse(normal).map(Reference::Identifier), "{text}");
        }
        for text in ["", "ann", "fax:1", "user_id:a\0b", "phone:ring", "email:ann", "user_id:null"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
