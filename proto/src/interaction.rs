//! What an event says of itself, whatever its type.

use crate::catalogue::TypeInfo;
use crate::summary::Line;
use crate::v1::Interaction;

impl Interaction {
    /// The type in the catalogue; `None` for a custom one.
    pub fn type_info(&self) -> Option<&'static TypeInfo> {
        let (info, _) = self.data.as_ref()?.body()?;
        Some(info)
    }

    /// The entities that the body names, as `(kind, key)`: `("order", "o-1")`. An empty key names none. What
    /// `correlationid` names is not among them.
    pub fn entities(&self) -> Vec<(&'static str, &str)> {
        let mut entities = Vec::new();
        if let Some((_, body)) = self.data.as_ref().and_then(|d| d.body()) {
            body.entities(&mut entities);
        }
        entities
    }

    /// The channel on the timeline: what the event names, else its type's, `other` for a custom type.
    pub fn channel(&self) -> &str {
        let Some((info, body)) = self.data.as_ref().and_then(|d| d.body()) else {
            return "other";
        };
        match body.channel() {
            Some(channel) if !channel.is_empty() => channel,
            _ => info.channel,
        }
    }

    /// The direction, seen from us: `in`, `out` or `none`. What the customer does is never `out`.
    pub fn direction(&self) -> &str {
        let Some((info, body)) = self.data.as_ref().and_then(|d| d.body()) else {
            return "none";
        };
        match body.direction().unwrap_or(info.direction) {
            "in" | "inbound" => "in",
            "out" | "outbound" if self.actor.as_deref() == Some("customer") => "in",
            "out" | "outbound" => "out",
            _ => "none",
        }
    }

    /// One line of at most 200 characters; of a custom type its name.
    pub fn summary(&self) -> String {
        match self.data.as_ref().and_then(|d| d.body()) {
            Some((_, body)) => {
                let mut line = Line::default();
                body.summary(&mut line);
                line.finish()
            }
            None => Line::from(self.r#type.as_deref().unwrap_or_default()).finish(),
        }
    }

    /// `sequence` as text, whether it came as a string or as an integer.
    pub fn sequence_text(&self) -> Option<String> {
        let token = self.sequence.as_deref()?;
        match token.starts_with('"') {
            true => serde_json::from_str(token).ok(),
            false => Some(token.into()),
        }
    }
}
