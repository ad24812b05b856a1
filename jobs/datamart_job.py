"""The script of the Glue job; it runs outside Glue as well. Parameters: iceberg_datamart.job."""

from iceberg_datamart.job import main

if __name__ == "__main__":
    main()
