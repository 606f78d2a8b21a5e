//! Message ids as mails write them: with or without their angle brackets, with prose around them, folded over lines.

/// An id longer than this many bytes is known by its hash: an index entry has a limit.
const ID_BYTES_MAX: usize = 512;

/// The id in a field that holds one: what stands in the first angle brackets, else the whole text. In angle brackets,
/// without blanks; `None` if there is nothing.
pub fn own(text: &str) -> Option<String> {
    bracketed(text).next().map_or_else(|| whole(text), Some)
}

/// The id that an In-Reply-To means. Some programs write prose around it that names the writer's address in angle
/// brackets too, before the id: of several the last one counts. Prose without brackets means no message, nor does an id
/// with a blank in it: what a program broke on its way is no more what the parent calls itself.
pub fn parent(text: &str) -> Option<String> {
    let unbroken = in_angles(text).filter(|id| !id.trim().contains(char::is_whitespace)).filter_map(in_brackets);
    unbroken.last().or_else(|| if text.trim().contains(char::is_whitespace) { None } else { whole(text) })
}

/// All ids in an entry of References, which may hold one or a whole list.
pub fn all(text: &str) -> Vec<String> {
    let ids: Vec<String> = bracketed(text).collect();
    if ids.is_empty() { text.split_whitespace().filter_map(whole).collect() } else { ids }
}

/// A thread's id as published. One that is written like a mail's id is that of the mail's thread.
pub fn of_thread(key: &str) -> String {
    let trimmed = key.trim();
    if trimmed.starts_with('<') && trimmed.ends_with('>') {
        return own(trimmed).unwrap_or_else(|| key.to_owned());
    }
    key.to_owned()
}

/// A text that names something among others of its kind, short enough for an index.
pub(crate) fn bounded(text: String) -> String {
    if text.len() <= ID_BYTES_MAX { text } else { domain::name_id(&text).to_string() }
}

/// What stands in angle brackets, in order.
fn bracketed(text: &str) -> impl Iterator<Item = String> {
    in_angles(text).filter_map(in_brackets)
}

fn in_angles(text: &str) -> impl Iterator<Item = &str> {
    text.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(id, _)| id)
}

fn whole(text: &str) -> Option<String> {
    in_brackets(text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '<' | '>')))
}

fn in_brackets(id: &str) -> Option<String> {
    let id: String = id.chars().filter(|c| !c.is_whitespace()).collect();
    (!id.is_empty()).then(|| format!("<{}>", bounded(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_however_it_is_written() {
        for text in ["<a@b>", "a@b", " <a@b> ", "<a\r\n @b>", "<a@b", "Message-ID <a@b>"] {
            assert_eq!(own(text).as_deref(), Some("<a@b>"), "{text}");
        }
        for nothing in ["", "  ", "<>", "< >"] {
            assert_eq!(own(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn prose_around_an_id_is_left_out() {
        let eudora = "Message from Ann <ann@b.example> of \"Wed, 21 Aug 2002 16:20:17 PDT.\" <1@b.example>";
        for (text, id) in [
            (eudora, Some("<1@b.example>")),
            ("<1@b> (Ann's message of Monday)", Some("<1@b>")),
            ("<1@b>\n\t<2@b>", Some("<2@b>")),
            ("1@b", Some("<1@b>")),
            ("Ann's message of \"Wed, 28 Aug 2002 11:48:12 -0700\"", None),
            ("<1@b.exam ple>", None),
            ("", None),
        ] {
            assert_eq!(parent(text).as_deref(), id, "{text}");
        }
    }

    #[test]
    fn references_are_one_an_entry_or_a_list() {
        assert_eq!(all("<1@b>"), ["<1@b>"]);
        assert_eq!(all("<1@b> <2@b>\n <3@b>"), ["<1@b>", "<2@b>", "<3@b>"]);
        assert_eq!(all("1@b 2@b"), ["<1@b>", "<2@b>"]);
        assert_eq!(all("<>"), Vec::<String>::new());
    }

    #[test]
    fn threads_keep_their_ids() {
        for (key, id) in [("7", "7"), ("<a @b>", "<a@b>"), ("<>", "<>"), ("a<b>", "a<b>")] {
            assert_eq!(of_thread(key), id);
        }
    }

    #[test]
    fn a_long_id_is_known_by_its_hash() {
        let (long, other) = ("x".repeat(ID_BYTES_MAX + 1), "y".repeat(ID_BYTES_MAX + 1));
        let id = own(&long).expect("an id");
        assert!(id.len() < 64 && id != own(&other).expect("another"));
        assert_eq!(own(&"x".repeat(ID_BYTES_MAX)).map(|id| id.len()), Some(ID_BYTES_MAX + 2));
    }
}
