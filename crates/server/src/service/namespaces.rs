//! Namespaces: names do not cross them, content does.

use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::events;
use wharf_api::containerd::services::namespaces::v1 as api;
use wharf_metadata::NamespaceRecord;
use wharf_types::filter::FieldsFn;
use wharf_types::{ErrorKind, Kind as _, Labels};

use crate::Services;
use crate::announce::announce;
use crate::blocking::blocking;
use crate::call::id;
use crate::convert::{self, label_change, to_labels};
use crate::refuse::{missing, refuse};

/// Over [`wharf_metadata::Namespaces`].
pub(crate) struct Namespaces(pub(crate) Services);

#[async_trait]
impl api::namespaces_server::Namespaces for Namespaces {
    async fn get(
        &self,
        request: Request<api::GetNamespaceRequest>,
    ) -> Result<Response<api::GetNamespaceResponse>, Status> {
        let name = id(&request.into_inner().name)?;
        let store = self.0.namespaces.clone();
        let record = blocking(move || match store.get(&name) {
            // Clients ask for the defaults of a namespace before they write the first record into it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(NamespaceRecord { name, labels: Labels::new() }),
            answer => answer.map_err(refuse),
        })
        .await?;
        Ok(Response::new(api::GetNamespaceResponse { namespace: Some(message(record)) }))
    }

    async fn list(
        &self,
        request: Request<api::ListNamespacesRequest>,
    ) -> Result<Response<api::ListNamespacesResponse>, Status> {
        let filters = convert::filter(&request.into_inner().filter)?;
        let store = self.0.namespaces.clone();
        let mut records = blocking(move || store.list().map_err(refuse)).await?;
        records.retain(|record| filters.matches(&FieldsFn(|path: &[&str]| field(record, path))));
        let namespaces = records.into_iter().map(message).collect();
        Ok(Response::new(api::ListNamespacesResponse { namespaces }))
    }

    async fn create(
        &self,
        request: Request<api::CreateNamespaceRequest>,
    ) -> Result<Response<api::CreateNamespaceResponse>, Status> {
        let namespace = request.into_inner().namespace.ok_or_else(|| missing("namespace"))?;
        let name = id(&namespace.name)?;
        let (store, exchange) = (self.0.namespaces.clone(), self.0.events.clone());
        let record = blocking(move || {
            let labels = convert::labels(namespace.labels);
            store.create(&name, &labels).map_err(refuse)?;
            let event = events::NamespaceCreate { name: name.to_string(), labels: to_labels(labels.clone()) };
            announce(&*exchange, &name, "/namespaces/create", "containerd.events.NamespaceCreate", &event);
            Ok(NamespaceRecord { name, labels })
        });
        Ok(Response::new(api::CreateNamespaceResponse { namespace: Some(message(record.await?)) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateNamespaceRequest>,
    ) -> Result<Response<api::UpdateNamespaceResponse>, Status> {
        let request = request.into_inner();
        let namespace = request.namespace.ok_or_else(|| missing("namespace"))?;
        let name = id(&namespace.name)?;
        let change = label_change(request.update_mask, namespace.labels)?;
        let (store, exchange) = (self.0.namespaces.clone(), self.0.events.clone());
        let record = blocking(move || {
            let record = store.update(&name, &change).map_err(refuse)?;
            let event = events::NamespaceUpdate { name: name.to_string(), labels: to_labels(record.labels.clone()) };
            announce(&*exchange, &name, "/namespaces/update", "containerd.events.NamespaceUpdate", &event);
            Ok(record)
        });
        Ok(Response::new(api::UpdateNamespaceResponse { namespace: Some(message(record.await?)) }))
    }

    async fn delete(&self, request: Request<api::DeleteNamespaceRequest>) -> Result<Response<()>, Status> {
        let name = id(&request.into_inner().name)?;
        let (store, exchange) = (self.0.namespaces.clone(), self.0.events.clone());
        let running = self.0.tasks.list(&name).await.len();
        if running > 0 {
            return Err(Status::failed_precondition(format!(
                "namespace {name}: it has {running} tasks; delete them first"
            )));
        }
        blocking(move || {
            store.delete(&name).map_err(refuse)?;
            let event = events::NamespaceDelete { name: name.to_string() };
            announce(&*exchange, &name, "/namespaces/delete", "containerd.events.NamespaceDelete", &event);
            Ok(())
        })
        .await?;
        Ok(Response::new(()))
    }
}

fn message(record: NamespaceRecord) -> api::Namespace {
    api::Namespace { name: record.name.into(), labels: to_labels(record.labels) }
}

fn field(record: &NamespaceRecord, path: &[&str]) -> Option<String> {
    match path {
        ["name"] => Some(record.name.to_string()),
        ["labels", key @ ..] => record.labels.get(&key.join(".")).cloned(),
        _ => None,
    }
}
