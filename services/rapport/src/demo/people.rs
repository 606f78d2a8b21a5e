//! People who do not exist: their names, their addresses under domains reserved for examples, their phone numbers in
//! ranges reserved for fiction.

use serde_json::{Value, json};

use super::tale::{Tale, Who};

const FIRST: [&str; 40] = [
    "Ada", "Aoife", "Ben", "Brigid", "Cara", "Carl", "Chloe", "Ciaran", "Claire", "Conor", "Daniel", "Elena", "Emma",
    "Eoin", "Fiona", "Frank", "Grace", "Hannah", "Hugo", "Ines", "Jack", "Jonas", "Julia", "Karim", "Laura", "Leon",
    "Lucie", "Maeve", "Marie", "Mark", "Nadia", "Niamh", "Oscar", "Paul", "Priya", "Rory", "Sean", "Sofia", "Tom",
    "Zoe",
];

const LAST: [&str; 40] = [
    "Adler", "Bauer", "Bell", "Bernard", "Brady", "Byrne", "Carter", "Collins", "Cooper", "Daly", "Doyle", "Dubois",
    "Durand", "Evans", "Fischer", "Flynn", "Foley", "Garnier", "Hayes", "Hughes", "Kaur", "Keane", "Kelly", "Khan",
    "Lambert", "Lynch", "Martin", "Moore", "Murphy", "Nolan", "Okoye", "Patel", "Quinn", "Reid", "Roche", "Schmidt",
    "Tobin", "Vogel", "Walsh", "Weber",
];

/// A country that is delivered to.
pub(super) struct Country {
    pub(super) code: &'static str,
    pub(super) currency: &'static str,
    language: &'static str,
    towns: [&'static str; 3],
    weight: u32,
    /// Beginnings of numbers that regulators have set aside for fiction, and how many digits follow.
    ranges: &'static [(&'static str, u32)],
}

const COUNTRIES: [Country; 4] = [
    Country {
        code: "IE",
        currency: "EUR",
        language: "en",
        towns: ["Dublin", "Cork", "Galway"],
        weight: 50,
        ranges: &[("+3532091", 5)],
    },
    Country {
        code: "GB",
        currency: "GBP",
        language: "en",
        towns: ["London", "Leeds", "Belfast"],
        weight: 22,
        ranges: &[
            ("+447700900", 3),
            ("+442079460", 3),
            ("+441134960", 3),
            ("+441144960", 3),
            ("+441154960", 3),
            ("+441164960", 3),
            ("+441174960", 3),
            ("+441184960", 3),
            ("+441214960", 3),
            ("+441314960", 3),
            ("+441414960", 3),
            ("+441514960", 3),
            ("+441614960", 3),
            ("+441632960", 3),
        ],
    },
    Country {
        code: "DE",
        currency: "EUR",
        language: "de",
        towns: ["Hamburg", "Berlin", "Bremen"],
        weight: 16,
        ranges: &[("+493023125", 3), ("+494066969", 3), ("+496990009", 3), ("+492214710", 3), ("+498999998", 3)],
    },
    Country {
        code: "FR",
        currency: "EUR",
        language: "fr",
        towns: ["Lyon", "Nantes", "Lille"],
        weight: 12,
        ranges: &[("+3363998", 4), ("+3319900", 4), ("+3326191", 4), ("+3335301", 4), ("+3346571", 4), ("+3353649", 4)],
    },
];

/// The phone numbers given out so far. The reserved ranges hold 179,000; whoever comes after that has no phone.
#[derive(Default)]
pub(super) struct Numbers {
    next: [u32; COUNTRIES.len()],
}

/// The first number of the first country is the hotline.
const TAKEN: u32 = 1;

impl Numbers {
    fn take(&mut self, country: usize) -> Option<String> {
        let mut left = self.next[country] + TAKEN;
        for (prefix, digits) in COUNTRIES[country].ranges {
            let size = 10u32.pow(*digits);
            if left < size {
                self.next[country] += 1;
                // Neighbours do not get neighbouring numbers: 7919 shares no factor with ten.
                let scattered = u64::from(left) * 7919 % u64::from(size);
                return Some(format!("{prefix}{scattered:0width$}", width = *digits as usize));
            }
            left -= size;
        }
        None
    }
}

/// Somebody.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) first: &'static str,
    pub(super) last: &'static str,
    pub(super) currency: &'static str,
    country: usize,
    town: &'static str,
    street: String,
    /// An address, not an identifier: `ada.quinn42-1@example.com`.
    pub(super) mail: String,
    /// E.164. Absent: nobody was asked for it, or there are no numbers left.
    pub(super) phone: Option<String>,
    /// `1-42`, also in the ids of login, device and card.
    key: String,
}

impl Person {
    /// Person number `n` of a tale; `phone`: whether they leave a number.
    pub(super) fn new(tale: &mut Tale, n: usize, phone: bool) -> Self {
        let country = tale.dice.weighted(&[0, 1, 2, 3], |c: &usize| COUNTRIES[*c].weight);
        let (first, last) = (*tale.dice.pick(&FIRST), *tale.dice.pick(&LAST));
        let town = *tale.dice.pick(&COUNTRIES[*country].towns);
        let street = format!("{} {}", tale.dice.between(1, 180), tale.dice.pick(&["Mill Lane", "Quay", "Park Road"]));
        let host = *tale.dice.pick(&["example.com", "example.net", "example.org"]);
        let key = if n == 0 { tale.key() } else { format!("{}-{n}", tale.key()) };
        Self {
            first,
            last,
            currency: COUNTRIES[*country].currency,
            country: *country,
            town,
            street,
            mail: format!("{}.{}.{key}@{host}", first.to_lowercase(), last.to_lowercase()),
            phone: if phone { tale.numbers.take(*country) } else { None },
            key,
        }
    }

    /// The same person with this name.
    pub(super) fn named(mut self, first: &'static str, last: &'static str) -> Self {
        self.mail = format!("{}.{}.{}@example.com", first.to_lowercase(), last.to_lowercase(), self.key);
        Self { first, last, ..self }
    }

    /// The same person at work for a company with this domain.
    pub(super) fn at(self, host: &str) -> Self {
        let mail = format!("{}.{}@{host}", self.first.to_lowercase(), self.key);
        Self { mail, ..self }
    }

    /// The same person in the home of another.
    pub(super) fn living_with(self, other: &Self) -> Self {
        let Self { last, country, town, street, currency, .. } = other.clone();
        let mail = format!("{}.{}.{}@example.net", self.first.to_lowercase(), last.to_lowercase(), self.key);
        Self { last, country, town, street, currency, mail, ..self }
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.first, self.last)
    }

    pub(super) fn language(&self) -> &'static str {
        COUNTRIES[self.country].language
    }

    /// `kind:value` of each of their identifiers.
    pub(super) fn customer_no(&self) -> String {
        format!("customer_no:N{}", self.key)
    }

    pub(super) fn user_id(&self) -> String {
        format!("user_id:u-{}", self.key)
    }

    pub(super) fn email(&self) -> String {
        format!("email:{}", self.mail)
    }

    pub(super) fn device_id(&self) -> String {
        format!("device_id:d-{}", self.key)
    }

    pub(super) fn anonymous_id(&self) -> String {
        format!("anonymous_id:a-{}", self.key)
    }

    pub(super) fn card(&self) -> String {
        format!("card:tok-{}", self.key)
    }

    /// Before they have said who they are.
    pub(super) fn visitor(&self) -> Who {
        Who::by(self.anonymous_id()).and(self.device_id()).paying(self.currency)
    }

    /// Signed in.
    pub(super) fn customer(&self) -> Who {
        Who::by(self.customer_no()).and(self.user_id()).and(self.anonymous_id()).paying(self.currency)
    }

    /// As the sender or the recipient of a mail.
    pub(super) fn correspondent(&self) -> Who {
        Who::by(self.email())
    }

    /// As a caller; by mail where there is no number.
    pub(super) fn caller(&self) -> Who {
        self.phone.as_ref().map_or_else(|| self.correspondent(), |number| Who::by(format!("phone:{number}")))
    }

    /// The fields of a profile.
    pub(super) fn profile(&self) -> Value {
        json!({
            "name": self.name(), "language": self.language(),
            "address": {"street": self.street, "town": self.town, "country": COUNTRIES[self.country].code},
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_number_of_the_reserved_ranges_is_given_out_once() {
        let mut numbers = Numbers::default();
        let mut seen = HashSet::from([super::super::company::HOTLINE.to_owned()]);
        for (n, country) in COUNTRIES.iter().enumerate() {
            let size: u32 = country.ranges.iter().map(|(_, digits)| 10u32.pow(*digits)).sum();
            for _ in TAKEN..size {
                let number = numbers.take(n).expect("there are numbers left");
                assert!(seen.insert(number.clone()), "{number} twice");
            }
            assert_eq!(numbers.take(n), None);
        }
        assert_eq!(seen.len(), 178_997);
    }
}
