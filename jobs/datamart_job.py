"""The script of the Glue job; it runs outside Glue as well. Parameters: iceberg_datamart.glue_job."""

from iceberg_datamart.glue_job import main

if __name__ == "__main__":
    main()
