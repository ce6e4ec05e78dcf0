//! Short forms for schemas.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, Array, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema, SchemaFormat};

/// Text, where nothing else is said.
pub(crate) fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

/// Text of a format that tools know.
pub(crate) fn formatted(description: &str, format: &str) -> ObjectBuilder {
    text(description).format(Some(SchemaFormat::Custom(format.to_owned())))
}

/// A moment in an answer.
pub(crate) fn moment(description: &str) -> ObjectBuilder {
    let description = format!("{description} Always `YYYY-MM-DDTHH:MM:SS.mmmZ`.");
    formatted(&description, "date-time")
        .pattern(Some(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"))
}

/// One of these texts.
pub(crate) fn one_of(description: &str, texts: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    text(description).enum_values(Some(texts))
}

pub(crate) fn flag(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean).description(Some(description))
}

pub(crate) fn count(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).description(Some(description)).minimum(Some(0))
}

pub(crate) fn number_of(description: &str, from: usize, to: usize) -> ObjectBuilder {
    count(description).minimum(Some(from)).maximum(Some(to))
}

pub(crate) fn list(description: &str, items: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::new().items(items.into()).description(Some(description))
}

pub(crate) fn object(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).description(Some(description))
}

/// An object with values of one kind under any names.
pub(crate) fn map(description: &str, values: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    object(description).additional_properties(Some(AdditionalProperties::RefOr(values.into())))
}

/// Another component's schema.
pub(crate) fn model(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

/// Whatever one of these describes.
pub(crate) fn any_of<S: Into<RefOr<Schema>>>(
    description: Option<&str>,
    schemas: impl IntoIterator<Item = S>,
) -> AnyOfBuilder {
    schemas.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).description(description)
}

pub(crate) fn null() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Null)
}

/// `null` as well: in requests it counts as absent.
pub(crate) trait OrNull {
    fn or_null(self) -> Self;
}

impl OrNull for ObjectBuilder {
    fn or_null(self) -> Self {
        let mut object: Object = self.build();
        object.schema_type = nullable(&object.schema_type);
        if let Some(values) = &mut object.enum_values {
            values.push(Value::Null);
        }
        object.into()
    }
}

impl OrNull for ArrayBuilder {
    fn or_null(self) -> Self {
        let mut array: Array = self.build();
        array.schema_type = nullable(&array.schema_type);
        array.into()
    }
}

impl OrNull for AnyOfBuilder {
    fn or_null(self) -> Self {
        self.item(null())
    }
}

fn nullable(schema_type: &SchemaType) -> SchemaType {
    match schema_type {
        SchemaType::Type(one) => SchemaType::Array(vec![one.clone(), Type::Null]),
        other => other.clone(),
    }
}

/// An object's properties.
pub(crate) trait Properties {
    /// One that is always there.
    fn must(self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self;
    /// One that may be left out.
    fn may(self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self;
    /// No others: an unknown field is refused.
    fn closed(self) -> Self;
}

impl Properties for ObjectBuilder {
    fn must(self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.property(name, schema).required(name)
    }

    fn may(self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.property(name, schema)
    }

    fn closed(self) -> Self {
        self.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
    }
}
