"""Tables of the Glue Data Catalog as sources."""
