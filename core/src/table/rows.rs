//! The row type of every table.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Field;

use super::cell::{
    Cell, FaceBox, FaceVector, FaceVectors, FeatureVector, Landmarks, NameSums, NameVector,
};
use super::dims::EmbeddingDims;
use super::id::TableId;
use super::nested::{Alias, Image};
use super::row::Row;
use crate::drops::{DropReason, Unit};
use crate::ids::{CaptionId, ImageId, NameId};

/// Declares row types and derives [`Row`] from their fields.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident in $table:ident, version $version:literal { $($(#[$fdoc:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)+ }

        impl Row for $name {
            const TABLE: TableId = TableId::$table;
            const VERSION: u32 = $version;

            fn fields(dims: &EmbeddingDims) -> Vec<Field> {
                vec![$(Field::new(stringify!($field), <$type>::data_type(dims), <$type>::NULLABLE),)+]
            }

            fn columns(rows: Vec<Self>, dims: &EmbeddingDims) -> Result<Vec<ArrayRef>, String> {
                $(let mut $field = Vec::with_capacity(rows.len());)+
                for row in rows {
                    $($field.push(row.$field);)+
                }
                Ok(vec![$(<$type>::write($field, dims).map_err(|e| format!("column `{}`: {e}", stringify!($field)))?,)+])
            }

            fn append(batch: &RecordBatch, dims: &EmbeddingDims, rows: &mut Vec<Self>) -> Result<(), String> {
                $(let mut $field = {
                    let column = batch.column_by_name(stringify!($field)).ok_or_else(|| format!("no column `{}`", stringify!($field)))?;
                    <$type>::read(column, dims).map_err(|e| format!("column `{}`: {e}", stringify!($field)))?.into_iter()
                };)+
                rows.extend(std::iter::from_fn(|| Some(Self { $($field: $field.next()?,)+ })));
                Ok(())
            }
        }
    )+};
}

rows! {
    /// A PERSON span in a caption.
    Mention in Mentions, version 2 {
        /// The caption.
        caption_id: CaptionId,
        /// The image beside it.
        image_id: ImageId,
        /// The image's url.
        url: String,
        /// The caption's text; of a long caption a window around the span.
        caption: String,
        /// The span's text, as written.
        name: String,
        /// First byte of the span in `caption`.
        start: u32,
        /// One past the last byte.
        end: u32,
        /// The image's hash in the source's metadata, where it has one.
        hash: Option<String>,
        /// Where the source itself holds the image's bytes: an address that only `laioncele-source` writes and reads. Null
        /// where the image is to be downloaded.
        image_at: Option<String>,
    }

    /// A spelling as mentions of one shard have it. Parts are sorted by spelling.
    SpellingCount in Spellings, version 1 {
        /// The mention's text, as written.
        spelling: String,
        /// Mentions of the shard with it.
        mentions: u64,
    }

    /// How often a word stands where in the mentions and captions of one shard. Parts are sorted by word.
    WordCount in Words, version 1 {
        /// The word in lower case.
        word: String,
        /// Mentions of several words that it begins.
        first: u64,
        /// Mentions in which it stands between two words.
        middle: u64,
        /// Mentions of several words that it ends.
        last: u64,
        /// Places outside mentions where it begins with a capital.
        elsewhere_capital: u64,
        /// Places outside mentions where it does not.
        elsewhere_lower: u64,
    }

    /// A question that a language model was asked, most mentions first.
    Opinion in Opinions, version 1 {
        /// The text that may be a person's name, or the spelling that may belong to `name`.
        text: String,
        /// The name that `text` may be a spelling of; null where the question is whether `text` is a person's name.
        name: Option<String>,
        /// Mentions that hang on the answer.
        mentions: u64,
        /// `yes`, `no` or `unsure`; null where there is no answer.
        answer: Option<String>,
    }

    /// What became of a spelling of one shard: a row for each name that it is filed under, or one that says that it is
    /// none. Parts are sorted by `row`.
    Verdict in Verdicts, version 1 {
        /// The spelling's row in the shard's part of `spellings`.
        row: u32,
        /// The name that its mentions are filed under; null where it is none.
        name_id: Option<NameId>,
        /// Why its mentions are dropped; null where they are not.
        reason: Option<DropReason>,
    }

    /// A name that was accepted, before its images are counted. The part is sorted by bucket and name, and has row groups
    /// of its own for each bucket.
    MergedName in MergedNames, version 1 {
        /// The bucket of the name.
        bucket: u32,
        /// Hash of `name`.
        name_id: NameId,
        /// The canonical spelling.
        name: String,
        /// All spellings filed under it, most frequent first.
        aliases: Vec<Alias>,
        /// Mentions of all spellings.
        mentions: u64,
    }

    /// A mention that is filed under a name. Parts are sorted by bucket, name, image and caption, and have row groups of
    /// their own for each bucket.
    FiledMention in FiledMentions, version 1 {
        /// The bucket of the name.
        bucket: u32,
        /// The name.
        name_id: NameId,
        /// The image.
        image_id: ImageId,
        /// The caption.
        caption_id: CaptionId,
        /// The image's url.
        url: String,
        /// The caption's text.
        caption: String,
        /// The image's hash in the source's metadata, where it has one.
        hash: Option<String>,
        /// Where the source itself holds the image's bytes, as in `mentions`.
        image_at: Option<String>,
    }

    /// A canonical name.
    Name in Names, version 1 {
        /// Hash of `name`.
        name_id: NameId,
        /// The canonical spelling.
        name: String,
        /// All spellings filed under it, most frequent first.
        aliases: Vec<Alias>,
        /// Mentions of all spellings.
        mentions: u64,
        /// Distinct images of all spellings.
        images: u64,
    }

    /// An image filed under a name.
    Candidate in Candidates, version 2 {
        /// The name.
        name_id: NameId,
        /// The image.
        image_id: ImageId,
        /// Where it is.
        url: String,
        /// One caption that names it (the first by caption id).
        caption: String,
        /// Its hash in the source's metadata, where it has one.
        hash: Option<String>,
        /// Where the source itself holds its bytes, as in `mentions`.
        image_at: Option<String>,
    }

    /// A name's embedding.
    NameEmbedding in NameEmbeddings, version 1 {
        /// The name.
        name_id: NameId,
        /// Its text.
        name: String,
        /// Tokens of the name alone, between start and end token, before truncation.
        token_count: u32,
        /// Tokens 1…8 of the name's prompt embedding.
        embedding: NameVector,
    }

    /// A generated portrait.
    Portrait in Portraits, version 1 {
        /// The name.
        name_id: NameId,
        /// 0…3.
        index: u32,
        /// The noise's seed, from run seed, name and index.
        seed: u64,
        /// PNG, WebP or JPEG; no bytes where it was pruned.
        image: Image,
        /// Digest of model and sampling settings; empty where the image was pruned.
        settings: String,
    }

    /// How far the first two portraits of a name agree (what lazy generation decided on).
    PortraitPair in PortraitPairs, version 1 {
        /// The name.
        name_id: NameId,
        /// Cosine of the two faces, null where one has no single face.
        similarity: Option<f32>,
        /// Portraits generated in the end.
        drawn: u32,
    }

    /// The face of one portrait.
    PortraitFace in PortraitFaces, version 1 {
        /// The name.
        name_id: NameId,
        /// The portrait.
        index: u32,
        /// Faces found.
        faces: u32,
        /// Detection score of the best face in [0, 1]; 0 without one.
        score: f32,
        /// Its box; zeros without one.
        face_box: FaceBox,
        /// Its landmarks; zeros without one.
        landmarks: Landmarks,
        /// Its embedding; zeros without one.
        embedding: FaceVector,
    }

    /// A name that SDXL really knows.
    KnownName in KnownNames, version 1 {
        /// The name.
        name_id: NameId,
        /// Its text.
        name: String,
        /// The portraits' face embeddings, in portrait order.
        faces: FaceVectors,
        /// Their mean, of unit length.
        mean_face: FaceVector,
        /// Lowest cosine among all pairs.
        min_similarity: f32,
        /// Mean cosine of all pairs.
        mean_similarity: f32,
    }

    /// A downloaded photo.
    Photo in Photos, version 1 {
        /// The name it was filed under.
        name_id: NameId,
        /// Hash of `url`.
        image_id: ImageId,
        /// Where it came from.
        url: String,
        /// A caption that names it.
        caption: String,
        /// The file as it came.
        image: Image,
        /// SHA-256 of the bytes, hexadecimal.
        sha256: String,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    }

    /// How many urls of a bucket ended how, by host or by year. Urls that several names share count once.
    Reachability in Reachability, version 1 {
        /// `host`: by the host of the url as written, in lower case. `year`: by the year that the url's path names (a
        /// segment of four digits), for urls that name one.
        by: String,
        /// The host or the year. Hosts beyond the 256 of the bucket with most urls are counted together as `(other hosts)`,
        /// and what has no host as `(no host)`.
        value: String,
        /// Why they were dropped; null for photos.
        reason: Option<DropReason>,
        /// Urls.
        urls: u64,
    }

    /// A try at a url, or a url that was not asked for at all.
    Attempt in Attempts, version 1 {
        /// Hash of `url`.
        image_id: ImageId,
        /// The url as written.
        url: String,
        /// Its host, in lower case; empty where it has none.
        host: String,
        /// Which try of its url this is, from 1; 0 for a url that was not asked for.
        attempt: u32,
        /// When it began, in milliseconds since 1970 (UTC).
        started: u64,
        /// How long it took, in milliseconds.
        milliseconds: u64,
        /// Why it failed; null for an answer that was a photo.
        reason: Option<DropReason>,
        /// The status of the last answer; null where none came.
        status: Option<u32>,
        /// What is told of the url's last failure, on its last try.
        detail: Option<String>,
    }

    /// What copies of a photo are recognized by.
    PhotoPrint in PhotoPrints, version 1 {
        /// The name.
        name_id: NameId,
        /// The photo.
        image_id: ImageId,
        /// The host of its url; empty where that has none.
        host: String,
        /// SHA-256 of the bytes, hexadecimal.
        sha256: String,
        /// Average hash: 64 bits, row-major, the first pixel in the highest bit (as Python imagehash prints it).
        average_hash: u64,
        /// Width × height.
        pixels: u64,
        /// Size of the file.
        bytes: u64,
    }

    /// A picture that stands for many images ("image not available"): by its bytes, or by how it looks at one host.
    Placeholder in Placeholders, version 1 {
        /// SHA-256 of the bytes, hexadecimal; null where it is recognized by its look.
        sha256: Option<String>,
        /// The host; null where it is recognized by its bytes.
        host: Option<String>,
        /// Average hash of one of the photos, or of all of that host's.
        average_hash: u64,
        /// Names that it is filed under.
        names: u64,
    }

    /// A photo that is nobody's copy within its name. The bytes stay in `photos`.
    UniquePhoto in UniquePhotos, version 1 {
        /// The name.
        name_id: NameId,
        /// The photo.
        image_id: ImageId,
        /// Average hash: 64 bits, row-major, the first pixel in the highest bit (as Python imagehash prints it).
        average_hash: u64,
        /// Copies of it that were dropped.
        copies: u32,
    }

    /// The best-matching face of a photo against its name's portraits.
    PhotoFace in PhotoFaces, version 2 {
        /// The name.
        name_id: NameId,
        /// The photo.
        image_id: ImageId,
        /// Faces found.
        faces: u32,
        /// Mean cosine of the best face to the portraits; null without a face.
        similarity: Option<f32>,
        /// The same of the second-best face; null without one.
        second: Option<f32>,
        /// Detection score of the best face; 0 without one.
        score: f32,
        /// Its box; zeros without one.
        face_box: FaceBox,
        /// Its landmarks; zeros without one.
        landmarks: Landmarks,
        /// Its embedding; zeros without one.
        embedding: FaceVector,
    }

    /// A photo that shows its name's person.
    Match in Matches, version 1 {
        /// The name.
        name_id: NameId,
        /// The photo.
        image_id: ImageId,
        /// Mean cosine to the portraits.
        similarity: f32,
        /// Faces found.
        faces: u32,
        /// The matching face's box.
        face_box: FaceBox,
        /// Its landmarks.
        landmarks: Landmarks,
    }

    /// How many people the photos of a name show often.
    NamePeople in NamePeople, version 1 {
        /// The name.
        name_id: NameId,
        /// Photos that show the person of its portraits.
        first: u32,
        /// Photos that show one other person.
        second: u32,
        /// 1 where the name stands for both: the second person has enough photos.
        homonym: u32,
    }

    /// A kept photo of an identity (a name with enough of them).
    Identity in Identities, version 1 {
        /// The name.
        name_id: NameId,
        /// Its text.
        name: String,
        /// The photo.
        image_id: ImageId,
        /// Mean cosine to the portraits.
        similarity: f32,
        /// The matching face's box.
        face_box: FaceBox,
    }

    /// One example of the dataset.
    LaionCele in LaionCele, version 1 {
        /// The identity.
        name_id: NameId,
        /// Its canonical name.
        name: String,
        /// Its name embedding.
        name_embedding: NameVector,
        /// The photo.
        image: Image,
        /// A caption that names it.
        caption: String,
        /// Where it came from.
        url: String,
        /// Hash of `url`.
        image_id: ImageId,
        /// SHA-256 of the bytes, hexadecimal.
        sha256: String,
        /// Average hash.
        average_hash: u64,
        /// Mean cosine of its face to the portraits.
        similarity: f32,
        /// The face's box in pixels.
        face_box: FaceBox,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    }

    /// What a bucket's identities add to the mean name: one row, or none without identities.
    NameSum in NameSums, version 1 {
        /// Names that the sums are taken over.
        names: u64,
        /// Sum of their embeddings' lengths ‖N‖₂.
        lengths: f64,
        /// Sum of their embeddings.
        sums: NameSums,
    }

    /// CLIP image features of a photo with a face.
    PhotoFeature in PhotoFeatures, version 1 {
        /// The name.
        name_id: NameId,
        /// The photo.
        image_id: ImageId,
        /// Features of the face crop.
        features: FeatureVector,
    }

    /// An image that the base model draws of somebody by name, to see whether it can.
    NamedImage in NamedImages, version 1 {
        /// Who: the reference's name in the source of reference photos.
        person: String,
        /// The prompt, before the name took the place of the person in it.
        prompt: String,
        /// Image number of this person, over all prompts.
        index: u32,
        /// The noise's seed.
        seed: u64,
        /// PNG.
        image: Image,
    }

    /// The face of such an image beside the person's photos.
    NamedFace in NamedFaces, version 1 {
        /// Who.
        person: String,
        /// The image.
        index: u32,
        /// Faces found in it.
        faces: u32,
        /// Photos of the person that show a face.
        photo_faces: u32,
        /// Mean cosine of the image's main face to those of the photos; null where either shows none.
        similarity: Option<f64>,
    }

    /// Whether somebody may be a reference: whom the base model cannot draw by name.
    ReferenceVerdict in ReferenceVerdicts, version 1 {
        /// Who.
        person: String,
        /// `chosen`, `drawn_by_name`, `no_face_in_photos`, `no_images` or `no_face_in_images`.
        verdict: String,
        /// Mean similarity of the images that show a face; null without any.
        similarity: Option<f64>,
        /// From which on the images would show this person.
        threshold: f64,
        /// Images by name.
        images: u32,
        /// Those with a face.
        faces: u32,
    }

    /// Somebody who may be a reference. A table of its own: samples depend on who was chosen, not on why.
    ChosenPerson in ChosenPeople, version 1 {
        /// Who.
        person: String,
    }

    /// A generated image of a person that no network was trained on, or of the base model.
    Sample in Samples, version 3 {
        /// What generated it: `laioncele`, `sdxl` (the base model, of nobody), `sdxl-name`, `ip-adapter`,
        /// `ip-adapter-s0.6` and the like, `photomaker`.
        method: String,
        /// Who: the reference's name in the source of reference photos; empty for the base model.
        person: String,
        /// The prompt's group (`style`, `scene`, `emotion`, `action`).
        group: String,
        /// The prompt that the image was generated from, before a method put its name or trigger word into it.
        prompt: String,
        /// The word that stands for the person in the prompt: `man`, `woman` or `person`; `Man` or `Woman` where the manifest
        /// writes it as the paper prints it.
        word: String,
        /// Whether people gave that word; else it is the guess, or `person` without one.
        word_given: bool,
        /// What the gender network makes of the person's first photo, `man` or `woman`: a guess about a picture. Null without a
        /// face or a network, where nothing is asked, and for the base model.
        gender_guess: Option<String>,
        /// How probable the network finds it, from 0.5 to 1.
        gender_probability: Option<f32>,
        /// Image number of this person and prompt.
        index: u32,
        /// The noise's seed: for a person, prompt and number that of all methods.
        seed: u64,
        /// PNG.
        image: Image,
    }

    /// One metric of the evaluation.
    EvaluationScore in Evaluation, version 2 {
        /// What made the images: `laioncele`, `sdxl`, …; empty for what concerns all.
        system: String,
        /// `clip_ti`, `fid`, `kid`, `id_consistency`, …
        metric: String,
        /// The prompts' group, `all` images, or the `mean` of the groups' values.
        group: String,
        /// Its value.
        value: f64,
        /// The 2.5 % bound of its interval, people redrawn.
        low: Option<f64>,
        /// The 97.5 % bound.
        high: Option<f64>,
        /// Images or pairs that it was taken over.
        count: u64,
        /// The system that it is a distance or a difference to.
        against: Option<String>,
        /// How many images of that.
        against_count: Option<u64>,
    }

    /// A row that a step dropped.
    Dropped in Dropped, version 1 {
        /// The step.
        step: String,
        /// What the row stood for.
        unit: Unit,
        /// Its id: caption, name or image.
        id: u64,
        /// The name it was filed under, where it was.
        name_id: Option<NameId>,
        /// Why it was dropped.
        reason: DropReason,
        /// Code, score, directive or kept id; null where the reason says all.
        detail: Option<String>,
    }
}

impl Portrait {
    /// Takes the image away: what else the row says stays. No step takes such a portrait over, since its settings are gone too.
    pub fn prune(&mut self) {
        self.image.bytes = Vec::new();
        self.settings = String::new();
    }

    /// Whether the image was taken away.
    pub fn is_pruned(&self) -> bool {
        self.image.bytes.is_empty()
    }
}
