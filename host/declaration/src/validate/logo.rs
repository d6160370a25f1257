//! The logo: a picture that a page can show without trusting the app.
//!
//! An SVG can hold scripts, load other files, and look like the page around it. So not what is bad is refused but what
//! is not known to be harmless: elements from one list, and references that stay within the picture.

use roxmltree::{Document, Node, ParsingOptions};

use super::{Check, MAX_LOGO_BYTES};

const SVG: &str = "http://www.w3.org/2000/svg";
const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XLINK: &str = "http://www.w3.org/1999/xlink";

/// Shapes, text and paint (SVG 1.1), and the filters that load nothing.
const ELEMENTS: [&str; 33] = [
    "circle",
    "clipPath",
    "defs",
    "desc",
    "ellipse",
    "feBlend",
    "feColorMatrix",
    "feComposite",
    "feFlood",
    "feGaussianBlur",
    "feMerge",
    "feMergeNode",
    "feMorphology",
    "feOffset",
    "filter",
    "g",
    "line",
    "linearGradient",
    "marker",
    "mask",
    "path",
    "pattern",
    "polygon",
    "polyline",
    "radialGradient",
    "rect",
    "stop",
    "svg",
    "symbol",
    "text",
    "title",
    "tspan",
    "use",
];

pub(super) fn logo(check: &mut Check<'_>) {
    let Some(logo) = &check.app.logo else { return };
    if logo.len() > MAX_LOGO_BYTES {
        check.fail("logo", format!("the logo has {} bytes, more than {MAX_LOGO_BYTES}", logo.len()));
    } else if let Err(message) = sound(logo) {
        check.fail("logo", format!("the logo {message}"));
    }
}

fn sound(text: &str) -> Result<(), String> {
    // Without a DTD no entity can grow, and none can name a file.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: 5_000, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| format!("is no SVG: {error}"))?;
    if !document.root_element().has_tag_name((SVG, "svg")) {
        return Err(format!("is no SVG: it begins with <svg xmlns=\"{SVG}\">"));
    }
    document.descendants().try_for_each(node)
}

fn node(node: Node<'_, '_>) -> Result<(), String> {
    if node.is_pi() {
        return Err("holds a processing instruction".into());
    }
    if !node.is_element() {
        return Ok(());
    }
    let tag = node.tag_name();
    if tag.namespace() != Some(SVG) || !ELEMENTS.contains(&tag.name()) {
        return Err(format!("holds <{}>, which is not known to be harmless", tag.name()));
    }
    for attribute in node.attributes() {
        let (name, value) = (attribute.name(), attribute.value());
        let known = match attribute.namespace() {
            None => true,
            Some(XLINK) => name == "href",
            Some(namespace) => namespace == XML && name == "space",
        };
        if !known || name.to_ascii_lowercase().starts_with("on") {
            return Err(format!("holds the attribute `{name}`"));
        }
        let leaves = if name == "href" { !value.starts_with('#') } else { refers_outside(value) };
        if leaves {
            return Err(format!("refers to something outside of itself: {name}=\"{value}\""));
        }
    }
    Ok(())
}

/// A `url(…)` other than `url(#…)`, or the escapes and at-rules of CSS, which could hide one.
fn refers_outside(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let functions = ["image(", "image-set(", "src(", "expression(", "javascript:"];
    value.contains(['\\', '@'])
        || value.contains("/*")
        || functions.iter().any(|function| value.contains(function))
        || value.split("url(").skip(1).any(|rest| !rest.trim_start().trim_start_matches(['"', '\'']).starts_with('#'))
}
