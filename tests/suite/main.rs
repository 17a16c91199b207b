mod builder;
mod generate;
