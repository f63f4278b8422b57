//! XML, as far as an MPD needs it: elements and attributes, indented. Every value passes through [`escaped`].

use std::borrow::Cow;
use std::fmt::Display;

/// A document in progress.
#[derive(Debug)]
pub(super) struct Xml {
    out: String,
    open: Vec<&'static str>,
}

/// The attributes of one element.
#[derive(Debug)]
pub(super) struct Attributes<'a>(&'a mut String);

impl Attributes<'_> {
    pub(super) fn set(&mut self, name: &str, value: impl Display) -> &mut Self {
        let value = value.to_string();
        for part in [" ", name, "=\"", &escaped(&value), "\""] {
            self.0.push_str(part);
        }
        self
    }

    pub(super) fn set_some(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }
}

impl Xml {
    pub(super) fn new() -> Self {
        Self { out: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), open: Vec::new() }
    }

    /// An element that others are within, until [`Xml::close`].
    pub(super) fn open(&mut self, name: &'static str, attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.start(name, attributes);
        self.out.push_str(">\n");
        self.open.push(name);
    }

    /// An element with nothing in it.
    pub(super) fn empty(&mut self, name: &'static str, attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.start(name, attributes);
        self.out.push_str("/>\n");
    }

    pub(super) fn close(&mut self) {
        let name = self.open.pop().expect("what is closed was opened");
        self.indent();
        for part in ["</", name, ">\n"] {
            self.out.push_str(part);
        }
    }

    pub(super) fn finish(self) -> String {
        debug_assert!(self.open.is_empty(), "every element is closed");
        self.out
    }

    fn start(&mut self, name: &'static str, attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.indent();
        self.out.push('<');
        self.out.push_str(name);
        attributes(&mut Attributes(&mut self.out));
    }

    fn indent(&mut self) {
        self.out.extend(std::iter::repeat_n(' ', self.open.len()));
    }
}

/// As it stands in an attribute's value.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_value_is_escaped() {
        let mut xml = Xml::new();
        xml.open("a", |a| {
            a.set("x", "<\"&'>").set_some("y", None::<u32>);
        });
        xml.empty("b", |_| {});
        xml.close();
        let expected = "<a x=\"&lt;&quot;&amp;&apos;&gt;\">\n <b/>\n</a>\n";
        assert!(xml.finish().ends_with(expected));
    }
}
