//! The program that lives beside a container.
