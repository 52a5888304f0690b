from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("task_api", "0001_initial")]

    operations = [
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["done", "created", "id"], name="task_done_page"),
        ),
    ]
