//! Ids that do not mix: one newtype per kind of thing, each a UUIDv7 made from a time and random bytes handed in.

use std::fmt;
use std::str::FromStr;

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Makes a UUIDv7 from Unix milliseconds and ten random bytes; ids made later sort later.
pub fn uuid_v7(unix_ms: u64, random: [u8; 10]) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id from Unix milliseconds and ten random bytes.
            pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid_v7(unix_ms, random))
            }

            /// The id held in exactly 16 bytes.
            ///
            /// # Errors
            /// When `bytes` is of any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, uuid::Error> {
                Uuid::from_slice(bytes).map(Self)
            }

            /// The 16 bytes of the id.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.parse().map(Self)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(self.0.as_bytes())?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let at = d.position();
                Self::from_slice(d.bytes()?)
                    .map_err(|_| DecodeError::message("an id is 16 bytes").at(at))
            }
        }
    };
}

id!(
    /// A shop.
    StoreId
);
id!(
    /// A till, a handheld or a sync server.
    DeviceId
);
id!(
    /// A person who works in a shop.
    StaffId
);
id!(
    /// Something that can be sold.
    ProductId
);
id!(
    /// A tax class.
    TaxClassId
);
id!(
    /// A picture: the beginning of the hash of its bytes, rather than a time and random bytes.
    PictureId
);
id!(
    /// A sale or a refund.
    OrderId
);
id!(
    /// An order that is parked, or a table: a document that people still edit.
    OpenOrderId
);
id!(
    /// A line of an open order.
    LineId
);
id!(
    /// A quantity that was added to a line of an open order.
    AdditionId
);
id!(
    /// A cash drawer shift.
    ShiftId
);
id!(
    /// A record that is neither an order nor a shift: a stock adjustment, an account adjustment, a drawer opening.
    RecordId
);
