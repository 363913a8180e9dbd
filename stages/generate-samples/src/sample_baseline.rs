//! The steps of the methods that LaionCele is compared with: one each, without tasks where the manifest does not name
//! the method.

use laioncele_core::ModelFiles;
use laioncele_core::{
    CoreError, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec, TableId, Task,
};
use laioncele_inference::ModelLoader;
use laioncele_inference::methods::{MethodName, Studio};
use serde_json::Value;

use crate::choice;
use crate::draw::{Output, Subject};
use crate::settings::{MOST_ROWS, StageConfig};
use crate::{MOST_CHUNKS, chunk_number};

/// A method's step.
struct SampleBaseline {
    spec: &'static StepSpec,
    is_mine: fn(&MethodName) -> bool,
}

macro_rules! spec {
    ($name:literal) => {
        &StepSpec {
            name: $name,
            stage: StageName::GenerateSamples,
            version: 3,
            partitioning: Partitioning::Chunks((MOST_CHUNKS * MOST_ROWS) as u32),
            reads: &[],
            writes: &[TableId::Samples],
        }
    };
}

pub(crate) fn steps() -> Vec<Box<dyn Step>> {
    let step = |spec, is_mine| Box::new(SampleBaseline { spec, is_mine }) as Box<dyn Step>;
    vec![
        step(spec!("sample-sdxl-name"), |m| *m == MethodName::SdxlName),
        step(spec!("sample-ip-adapter"), |m| {
            matches!(m, MethodName::IpAdapter(_))
        }),
        step(spec!("sample-photomaker"), |m| *m == MethodName::PhotoMaker),
    ]
}

impl SampleBaseline {
    /// The rows of this method that the manifest wants.
    fn methods(&self, config: &StageConfig) -> Vec<MethodName> {
        let methods = config.settings.methods.iter().copied();
        methods.filter(self.is_mine).collect()
    }
}

impl Step for SampleBaseline {
    fn spec(&self) -> &'static StepSpec {
        self.spec
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        let config = StageConfig::from_manifest(manifest)?;
        let methods = self.methods(&config).len();
        if methods == 0 {
            return Ok(Partitioning::Chunks(0));
        }
        let chunks = methods * config.most_people(manifest)?.min(MOST_CHUNKS);
        Ok(Partitioning::Chunks(u32::try_from(chunks).unwrap_or(0)))
    }

    fn reads(&self, manifest: &Manifest) -> Vec<Reads> {
        choice::reads(self.spec.reads, manifest)
    }

    fn settings(&self, manifest: &Manifest) -> Result<Value, CoreError> {
        let config = StageConfig::from_manifest(manifest)?;
        let methods = self.methods(&config);
        if methods.is_empty() {
            return Ok(Value::Null);
        }
        config.method_settings(manifest, &methods)
    }

    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        let config = StageConfig::from_manifest(manifest)?;
        match self.methods(&config).first() {
            None => Ok(Vec::new()),
            Some(method) => config.method_models(manifest, *method),
        }
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let config = StageConfig::from_manifest(task.manifest())?;
        let methods = self.methods(&config);
        let people = choice::people_of_task(&config, task)?;
        let chunks = config.most_people(task.manifest())?.clamp(1, MOST_CHUNKS);
        let chunk = chunk_number(task)?;
        let method = *methods.get(chunk / chunks).ok_or_else(|| {
            StageError::data(format!("chunk {chunk} is of no method of the manifest"))
        })?;
        let method_config = config.method(task.manifest(), method)?;
        let mut studio = Studio::open(&method_config, &ModelLoader::of_task(task))?;
        studio.threads = task.runtime_environment().threads;
        let mut subjects = Vec::new();
        for person in people.iter().skip(chunk % chunks).step_by(chunks) {
            subjects.push(Subject::person(&config, &studio, person)?);
        }
        Output::new(&method.to_string(), &studio, &config).draw(task, subjects)
    }
}
