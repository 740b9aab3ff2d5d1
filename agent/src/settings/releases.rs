//! Where releases of the ledger come from: a folder, or a mirror of the ledger's release pages.

use cutover_vocabulary::Version;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// What stands for a version in names.
const VERSION: &str = "{version}";

/// Where releases of the ledger come from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleasesSettings {
    /// A folder laid out like the ledger's release pages; a `file:` URL means the same. Or the `https://` address of such a
    /// folder, from which archives are downloaded into `state` and nothing is unpacked before its checksum was compared;
    /// `http://` only to this host itself. The proxies that `HTTPS_PROXY` and `NO_PROXY` name are used.
    #[schemars(with = "String", extend("format" = "absolute path or address"), example = "/srv/numary-releases")]
    pub place: Place,
    /// File names of the archive below `place`, the first that exists is used; of a mirror, the first that the checksum file
    /// names. `{version}` stands for the version. The default has both names that the ledger's releases ever had.
    #[schemars(example = ["v{version}/numary.tar.gz"])]
    pub archives: Vec<String>,
    /// File names of the checksum file in `sha256sum` format below `place`, the first that exists is used. `{version}`
    /// stands for the version. The default has both names that the ledger's releases ever had.
    #[schemars(example = ["v{version}/SHA256SUMS"])]
    pub checksums: Vec<String>,
    /// Where releases are unpacked, `VERSION/numary` below it. Readable for everybody: services start from there as their own
    /// users.
    #[schemars(
        extend("format" = super::PATH, "x-default" = "`releases` in `state`; `/opt/cutover/releases` where an instance is a unit"),
        example = "/opt/numary/releases"
    )]
    pub unpacked: Option<PathBuf>,
    /// The largest binary that is unpacked, and the largest archive that is downloaded. The ledger's are about 40 MB.
    #[schemars(example = 536_870_912)]
    pub max_binary_bytes: u64,
}

/// Where releases lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// A folder of this host.
    Folder(PathBuf),
    /// The address of a folder elsewhere, without a slash at its end.
    Mirror(String),
}

impl Default for ReleasesSettings {
    fn default() -> Self {
        let names = |names: [&str; 2]| names.map(|name| format!("v{VERSION}/{name}")).to_vec();
        Self {
            place: Place::Folder(PathBuf::from("/srv/numary-releases")),
            archives: names(["numary_{version}_Linux-64bit.tar.gz", "numary_Linux_x86_64.tar.gz"]),
            checksums: names(["checksums_linux.txt", "checksums.txt"]),
            unpacked: None,
            max_binary_bytes: 256 << 20,
        }
    }
}

impl ReleasesSettings {
    /// What a text says: a place, or the address of an archive with `{version}` in it.
    ///
    /// # Errors
    /// As [`Place::try_from`]; and where the archive has no folder.
    pub fn from_text(text: &str) -> Result<Self, String> {
        if !text.contains(VERSION) {
            return Ok(Self { place: Place::try_from(text.to_owned())?, ..Self::default() });
        }
        let Some((above, archive)) = text.rsplit_once('/') else {
            return Err(format!("releases = {text:?} must be an absolute path or an https:// address"));
        };
        // Names below the first part that differs by version.
        let parts: Vec<&str> = above.split('/').collect();
        let fixed = parts.iter().position(|part| part.contains(VERSION)).unwrap_or(parts.len());
        let folder = |name: &str| parts[fixed..].iter().copied().chain([name]).collect::<Vec<_>>().join("/");
        Ok(Self {
            place: Place::try_from(parts[..fixed].join("/"))?,
            archives: vec![folder(archive)],
            checksums: ["checksums_linux.txt", "checksums.txt"].map(folder).to_vec(),
            ..Self::default()
        })
    }
}

/// The names that templates stand for.
pub(crate) fn names<'a>(templates: &'a [String], version: &Version) -> impl Iterator<Item = String> + use<'a> {
    let version = version.to_string();
    templates.iter().map(move |name| name.replace(VERSION, &version))
}

/// Reads the table, or a text in its place.
pub(super) fn table_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReleasesSettings, D::Error> {
    struct Either;
    impl<'de> Visitor<'de> for Either {
        type Value = ReleasesSettings;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a folder, an address, or a table with `place`")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            ReleasesSettings::from_text(text).map_err(E::custom)
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            ReleasesSettings::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Either)
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(formatter),
            Self::Mirror(address) => formatter.write_str(address),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let path = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(&text);
        if path.contains("://") {
            return mirror(path);
        }
        if !Path::new(path).is_absolute() {
            return Err(format!("place = {text:?} must be an absolute path or an https:// address"));
        }
        Ok(Self::Folder(PathBuf::from(path)))
    }
}

fn mirror(text: &str) -> Result<Place, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("place = {text:?} is no address: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The address is shown in findings, which everybody may read who may read a plan.
        return Err(
            "place has a name or a password in it, which would be shown: let the mirror know this host by its \
                    address, or copy releases to a folder"
                .to_owned(),
        );
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(format!(
                "place = {text:?}: checksums that come over http:// prove nothing, for whoever changes the archive on its way \
                 changes them too; use https://, or copy releases to a folder"
            ));
        }
        _ => return Err(format!("place = {text:?} must be an absolute path or an https:// address")),
    }
    Ok(Place::Mirror(text.trim_end_matches('/').to_owned()))
}

/// Whether an address leads to this host itself.
pub(crate) fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_split_where_versions_begin_to_differ() {
        let text = "https://mirror.example/numary/v{version}/numary_{version}_Linux-64bit.tar.gz";
        let settings = ReleasesSettings::from_text(text).unwrap();
        assert_eq!(settings.place, Place::Mirror("https://mirror.example/numary".to_owned()));
        let version: Version = "1.4.6".parse().unwrap();
        let all = |templates: &[String]| names(templates, &version).collect::<Vec<_>>();
        assert_eq!(all(&settings.archives), ["v1.4.6/numary_1.4.6_Linux-64bit.tar.gz"]);
        assert_eq!(all(&settings.checksums), ["v1.4.6/checksums_linux.txt", "v1.4.6/checksums.txt"]);
        let folder = ReleasesSettings::from_text("/srv/r/numary-{version}.tar.gz").unwrap();
        assert_eq!(folder.place, Place::Folder("/srv/r".into()));
        assert_eq!(all(&folder.archives), ["numary-1.4.6.tar.gz"]);
        let pages = ReleasesSettings::from_text("https://mirror.example/numary/").unwrap();
        assert_eq!(pages.archives, ReleasesSettings::default().archives);
    }

    #[test]
    fn an_address_that_proves_nothing_or_would_show_a_secret_is_refused() {
        for (text, why) in [
            ("http://mirror.example/numary", "prove nothing"),
            ("http://10.0.0.1/numary", "prove nothing"),
            ("ftp://mirror.example/numary", "https://"),
            ("https://me:secret@mirror.example/", "password"),
            ("releases", "absolute"),
        ] {
            let said = ReleasesSettings::from_text(text).unwrap_err();
            assert!(said.contains(why) && !said.contains("secret"), "{text}: {said}");
        }
        for text in ["http://127.0.0.1:8080/numary", "http://[::1]/numary", "http://localhost/numary"] {
            assert_eq!(ReleasesSettings::from_text(text).unwrap().place, Place::Mirror(text.to_owned()));
        }
    }
}
