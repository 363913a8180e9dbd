//! The layouts that are known by name: what their columns are called.

use laioncele_core::manifest::Layout;

use crate::role::Role;

/// A column that a setting needs, whatever the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The column's role.
    pub role: Role,
    /// The setting, as a message names it: `[extract_names] min_width`.
    pub setting: String,
}

/// What the columns of a layout are called: for each role the names that it may have, best first.
pub(crate) type Columns = &'static [(Role, &'static [&'static str])];

struct Preset {
    layout: Layout,
    /// Columns that a file of this layout has and no other has together.
    signature: &'static [&'static str],
    columns: Columns,
}

/// In the order in which they are tried.
const PRESETS: [Preset; 7] = [
    Preset {
        layout: Layout::Img2dataset,
        signature: &["url", "key", "status", "error_message"],
        // Its md5 or sha256 is of the file before it was resized: no hash of the image that is here.
        columns: &[
            (Role::Url, &["url"]),
            (Role::Caption, &["caption", "txt", "text"]),
            (Role::Width, &["width", "original_width"]),
            (Role::Height, &["height", "original_height"]),
            (Role::Similarity, &["similarity"]),
            (Role::Punsafe, &["punsafe"]),
            (Role::Pwatermark, &["pwatermark"]),
            (Role::Nsfw, &["nsfw"]),
            (Role::Status, &["status"]),
            (Role::Image, &["jpg", "png", "webp", "image"]),
        ],
    },
    Preset {
        layout: Layout::Datacomp,
        signature: &["uid", "url", "text"],
        columns: &[
            (Role::Url, &["url"]),
            (Role::Caption, &["text"]),
            (Role::Width, &["original_width"]),
            (Role::Height, &["original_height"]),
            (
                Role::Similarity,
                &["clip_l14_similarity_score", "clip_b32_similarity_score"],
            ),
            (Role::Hash, &["sha256"]),
        ],
    },
    Preset {
        layout: Layout::Coyo,
        signature: &["url", "text", "image_phash"],
        columns: &[
            (Role::Url, &["url"]),
            (Role::Caption, &["text"]),
            (Role::Width, &["width"]),
            (Role::Height, &["height"]),
            (
                Role::Similarity,
                &["clip_similarity_vitl14", "clip_similarity_vitb32"],
            ),
            (
                Role::Punsafe,
                &["nsfw_score_opennsfw2", "nsfw_score_gantman"],
            ),
            (Role::Pwatermark, &["watermark_score"]),
        ],
    },
    Preset {
        layout: Layout::Laion400m,
        signature: &["SAMPLE_ID", "URL", "TEXT", "NSFW"],
        columns: &[
            (Role::Url, &["URL"]),
            (Role::Caption, &["TEXT"]),
            (Role::Width, &["WIDTH"]),
            (Role::Height, &["HEIGHT"]),
            (Role::Similarity, &["similarity"]),
            (Role::Punsafe, &["punsafe"]),
            (Role::Pwatermark, &["pwatermark"]),
            (Role::Nsfw, &["NSFW"]),
        ],
    },
    Preset {
        layout: Layout::Laion2b,
        signature: &["URL", "TEXT", "similarity"],
        columns: &[
            (Role::Url, &["URL"]),
            (Role::Caption, &["TEXT"]),
            (Role::Width, &["WIDTH"]),
            (Role::Height, &["HEIGHT"]),
            (Role::Similarity, &["similarity"]),
            (Role::Punsafe, &["punsafe"]),
            (Role::Pwatermark, &["pwatermark"]),
            (Role::Hash, &["hash"]),
            (Role::Nsfw, &["NSFW"]),
        ],
    },
    Preset {
        layout: Layout::Relaion,
        signature: &["url", "caption", "punsafe"],
        columns: &[
            (Role::Url, &["url"]),
            (Role::Caption, &["caption", "text"]),
            (Role::Width, &["width", "original_width"]),
            (Role::Height, &["height", "original_height"]),
            (Role::Similarity, &["similarity"]),
            (Role::Punsafe, &["punsafe"]),
            (Role::Pwatermark, &["pwatermark"]),
            (Role::Hash, &["md5", "sha256", "hash"]),
            (Role::Nsfw, &["nsfw"]),
        ],
    },
    Preset {
        layout: Layout::Cc12m,
        // Its files have no header: what tells them is no column.
        signature: &[],
        columns: &[(Role::Url, &["url"]), (Role::Caption, &["caption"])],
    },
];

/// The names looked for in files of no known layout.
const ANY: Columns = &[
    (Role::Url, &["url", "image_url"]),
    (Role::Caption, &["caption", "text"]),
    (Role::Width, &["width", "original_width"]),
    (Role::Height, &["height", "original_height"]),
    (Role::Similarity, &["similarity"]),
    (Role::Punsafe, &["punsafe"]),
    (Role::Pwatermark, &["pwatermark"]),
    (Role::Hash, &["md5", "sha256", "hash"]),
    (Role::Nsfw, &["nsfw"]),
];

/// What the columns of `layout` are called.
pub(crate) fn columns(layout: Option<Layout>) -> Columns {
    let preset = PRESETS.iter().find(|p| Some(p.layout) == layout);
    preset.map_or(ANY, |preset| preset.columns)
}

/// The layout of a file with columns of these names.
pub(crate) fn detect(names: &[String]) -> Option<Layout> {
    let has = |wanted: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    let fits = |preset: &&Preset| !preset.signature.is_empty() && preset.signature.iter().all(&has);
    PRESETS.iter().find(fits).map(|preset| preset.layout)
}
