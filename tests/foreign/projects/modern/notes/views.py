from django.http import HttpResponse

from .models import Note


def index(request):
    return HttpResponse(f'Notes: {Note.objects.count()}')


def up(request):
    return HttpResponse('')
